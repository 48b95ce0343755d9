//! Scripts as trees. Pure.

use super::commands;

/// A part of a script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// One command.
    Simple(Simple),
    /// One after the other, whatever became of them.
    Sequence(Vec<Node>),
    /// The second only if the first succeeded.
    And(Box<Node>, Box<Node>),
    /// The second only if the first failed.
    Or(Box<Node>, Box<Node>),
    Not(Box<Node>),
    While {
        condition: Box<Node>,
        body: Box<Node>,
    },
    If {
        condition: Box<Node>,
        then: Box<Node>,
        otherwise: Option<Box<Node>>,
    },
}

/// A command with its words, and where its input and output go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simple {
    pub words: Vec<Word>,
    pub redirects: Vec<Redirect>,
}

/// A word before anything in it is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word(pub Vec<Part>);

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text; quoted text is no pattern.
    Text { text: String, quoted: bool },
    /// `$NAME`, `${NAME}`, `$?`.
    Variable(String),
    /// `$(…)`: what the commands print.
    Output(Box<Node>),
}

/// Where output goes, or input comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Redirect {
    /// `> file`, or `>> file`.
    Output { file: Word, append: bool },
    /// `2> file`.
    Errors { file: Word },
    /// `2>&1`.
    ErrorsToOutput,
    /// `< file`.
    Input { file: Word },
}

impl Node {
    /// Whether every command in it is one of [`commands::KNOWN`].
    pub fn is_known(&self) -> bool {
        match self {
            Self::Simple(simple) => simple.is_known(),
            Self::Sequence(nodes) => nodes.iter().all(Self::is_known),
            Self::And(first, second) | Self::Or(first, second) => {
                first.is_known() && second.is_known()
            }
            Self::Not(inner) => inner.is_known(),
            Self::While { condition, body } => condition.is_known() && body.is_known(),
            Self::If { condition, then, otherwise } => {
                condition.is_known()
                    && then.is_known()
                    && otherwise.as_ref().is_none_or(|node| node.is_known())
            }
        }
    }
}

impl Simple {
    fn is_known(&self) -> bool {
        let inner = self.words.iter().flat_map(|word| &word.0);
        let known = |part: &Part| match part {
            Part::Output(node) => node.is_known(),
            Part::Text { .. } | Part::Variable(_) => true,
        };
        if !inner.clone().all(known) {
            return false;
        }
        let name = |at: usize| self.words.get(at).and_then(Word::literal);
        match name(0) {
            // Only redirections: an empty file.
            None if self.words.is_empty() => true,
            Some("exec") => name(1).is_none_or(|name| commands::KNOWN.contains(&name)),
            Some(name) => commands::KNOWN.contains(&name),
            None => false,
        }
    }
}

impl Word {
    /// Plain text.
    pub fn text(text: &str) -> Self {
        Self(vec![Part::Text { text: text.to_owned(), quoted: true }])
    }

    /// The word, if nothing in it has to be replaced.
    pub fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text { text, .. }] => Some(text),
            _ => None,
        }
    }

    fn is_bare(&self, word: &str) -> bool {
        matches!(self.0.as_slice(), [Part::Text { text, quoted: false }] if text == word)
    }
}

/// A command that was given as words, without a shell.
pub fn plain(words: &[&str]) -> Node {
    let words = words.iter().map(|word| Word::text(word)).collect();
    Node::Simple(Simple { words, redirects: Vec::new() })
}

/// A shell script; `None` if it holds something that is not understood.
pub fn script(text: &str) -> Option<Node> {
    let tokens = Lexer { rest: text }.tokens()?;
    let mut parser = Parser { tokens, at: 0 };
    let node = parser.list(&[])?;
    (parser.at == parser.tokens.len()).then_some(node)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(Word),
    /// `;` or a newline.
    End,
    And,
    Or,
    /// `>`, `>>`, `2>`, `2>&1`, `<`.
    Redirect(&'static str),
}

struct Lexer<'a> {
    rest: &'a str,
}

const OPERATORS: &[(&str, Token)] = &[
    ("2>&1", Token::Redirect("2>&1")),
    ("2>", Token::Redirect("2>")),
    ("1>", Token::Redirect(">")),
    (">>", Token::Redirect(">>")),
    (">", Token::Redirect(">")),
    ("<", Token::Redirect("<")),
    ("&&", Token::And),
    ("||", Token::Or),
    (";", Token::End),
    ("\n", Token::End),
];

impl<'a> Lexer<'a> {
    fn tokens(mut self) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        loop {
            self.rest = self.rest.trim_start_matches([' ', '\t', '\r']);
            if let Some(after) = self.rest.strip_prefix("\\\n") {
                self.rest = after;
                continue;
            }
            if self.rest.is_empty() {
                return Some(tokens);
            }
            if self.rest.starts_with('#') {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.rest = &self.rest[end..];
                continue;
            }
            let operator = OPERATORS.iter().find(|(text, _)| self.rest.starts_with(text));
            if let Some((text, token)) = operator {
                // Here-documents are not understood.
                if self.rest.starts_with("<<") {
                    return None;
                }
                self.rest = &self.rest[text.len()..];
                tokens.push(token.clone());
                continue;
            }
            tokens.push(Token::Word(self.word()?));
        }
    }

    fn word(&mut self) -> Option<Word> {
        let mut parts = Vec::new();
        let mut text = String::new();
        while let Some(c) = self.rest.chars().next() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '<' | '>' | '&' | '|' => break,
                // Groups, other expansions: not understood.
                '(' | ')' | '`' => return None,
                '\'' => {
                    let (inner, after) = self.rest[1..].split_once('\'')?;
                    self.rest = after;
                    push_text(&mut parts, &mut text, false);
                    parts.push(Part::Text { text: inner.to_owned(), quoted: true });
                }
                '"' => {
                    self.rest = &self.rest[1..];
                    push_text(&mut parts, &mut text, false);
                    self.double_quoted(&mut parts)?;
                }
                '$' => {
                    push_text(&mut parts, &mut text, false);
                    parts.push(self.dollar()?);
                }
                '\\' => {
                    let escaped = self.rest[1..].chars().next()?;
                    self.rest = &self.rest[1 + escaped.len_utf8()..];
                    push_text(&mut parts, &mut text, false);
                    parts.push(Part::Text { text: escaped.to_string(), quoted: true });
                }
                c => {
                    text.push(c);
                    self.rest = &self.rest[c.len_utf8()..];
                }
            }
        }
        push_text(&mut parts, &mut text, false);
        // An operator that is not understood: `|`, `&`.
        (!parts.is_empty()).then_some(Word(parts))
    }

    fn double_quoted(&mut self, parts: &mut Vec<Part>) -> Option<()> {
        let mut text = String::new();
        loop {
            let c = self.rest.chars().next()?;
            match c {
                '"' => {
                    self.rest = &self.rest[1..];
                    // Also an empty one is a word.
                    parts.push(Part::Text { text, quoted: true });
                    return Some(());
                }
                '$' => {
                    push_text(parts, &mut text, true);
                    parts.push(self.dollar()?);
                }
                '`' => return None,
                '\\' => {
                    let escaped = self.rest[1..].chars().next()?;
                    self.rest = &self.rest[1 + escaped.len_utf8()..];
                    if !matches!(escaped, '"' | '\\' | '$' | '`') {
                        text.push('\\');
                    }
                    text.push(escaped);
                }
                c => {
                    text.push(c);
                    self.rest = &self.rest[c.len_utf8()..];
                }
            }
        }
    }

    fn dollar(&mut self) -> Option<Part> {
        let after = &self.rest[1..];
        if let Some(inner) = after.strip_prefix('(') {
            if inner.starts_with('(') {
                return None;
            }
            let end = closing(inner)?;
            self.rest = &inner[end + 1..];
            return Some(Part::Output(Box::new(script(&inner[..end])?)));
        }
        if let Some(inner) = after.strip_prefix('{') {
            let (name, rest) = inner.split_once('}')?;
            self.rest = rest;
            return is_name(name).then(|| Part::Variable(name.to_owned()));
        }
        if let Some(rest) = after.strip_prefix('?') {
            self.rest = rest;
            return Some(Part::Variable("?".to_owned()));
        }
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, rest) = after.split_at(end.unwrap_or(after.len()));
        self.rest = rest;
        is_name(name).then(|| Part::Variable(name.to_owned()))
    }
}

fn push_text(parts: &mut Vec<Part>, text: &mut String, quoted: bool) {
    if !text.is_empty() {
        parts.push(Part::Text { text: std::mem::take(text), quoted });
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Where the parenthesis ends that was opened just before.
fn closing(text: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return Some(at),
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    None
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Whether the next word is one of these, not quoted.
    fn is_at(&self, words: &[&str]) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if words.iter().any(|w| word.is_bare(w)))
    }

    fn take(&mut self, word: &str) -> Option<()> {
        self.is_at(&[word]).then(|| self.at += 1)
    }

    /// Commands up to one of the words `until`, or the end.
    fn list(&mut self, until: &[&str]) -> Option<Node> {
        let mut nodes = Vec::new();
        loop {
            while self.peek() == Some(&Token::End) {
                self.at += 1;
            }
            if self.peek().is_none() || self.is_at(until) {
                break;
            }
            nodes.push(self.chain()?);
            match self.peek() {
                None | Some(Token::End) => {}
                Some(_) if self.is_at(until) => {}
                Some(_) => return None,
            }
        }
        match nodes.len() {
            1 => nodes.pop(),
            _ => Some(Node::Sequence(nodes)),
        }
    }

    fn chain(&mut self) -> Option<Node> {
        let mut node = self.command()?;
        loop {
            let token = self.peek().cloned();
            let joined = match token {
                Some(Token::And) => Node::And,
                Some(Token::Or) => Node::Or,
                _ => return Some(node),
            };
            self.at += 1;
            while self.peek() == Some(&Token::End) {
                self.at += 1;
            }
            node = joined(Box::new(node), Box::new(self.command()?));
        }
    }

    fn command(&mut self) -> Option<Node> {
        if self.take("!").is_some() {
            return Some(Node::Not(Box::new(self.command()?)));
        }
        if self.take("while").is_some() {
            let condition = Box::new(self.list(&["do"])?);
            self.take("do")?;
            let body = Box::new(self.list(&["done"])?);
            self.take("done")?;
            return Some(Node::While { condition, body });
        }
        if self.take("if").is_some() {
            let condition = Box::new(self.list(&["then"])?);
            self.take("then")?;
            let then = Box::new(self.list(&["else", "fi"])?);
            let otherwise = match self.take("else") {
                Some(()) => Some(Box::new(self.list(&["fi"])?)),
                None => None,
            };
            self.take("fi")?;
            return Some(Node::If { condition, then, otherwise });
        }
        if self.is_at(&["for", "case", "until", "function", "{", "elif", "do", "done", "fi"]) {
            return None;
        }
        self.simple()
    }

    fn simple(&mut self) -> Option<Node> {
        let mut simple = Simple::default();
        loop {
            match self.peek().cloned() {
                Some(Token::Word(word)) => {
                    self.at += 1;
                    simple.words.push(word);
                }
                Some(Token::Redirect("2>&1")) => {
                    self.at += 1;
                    simple.redirects.push(Redirect::ErrorsToOutput);
                }
                Some(Token::Redirect(kind)) => {
                    self.at += 1;
                    let Some(Token::Word(file)) = self.peek().cloned() else { return None };
                    self.at += 1;
                    simple.redirects.push(match kind {
                        "2>" => Redirect::Errors { file },
                        "<" => Redirect::Input { file },
                        kind => Redirect::Output { file, append: kind == ">>" },
                    });
                }
                _ => break,
            }
        }
        let empty = simple.words.is_empty() && simple.redirects.is_empty();
        (!empty).then_some(Node::Simple(simple))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Program;

    fn program(script: &str) -> Program {
        Program::of(&["sh".into(), "-c".into(), script.into()], &[])
    }

    #[test]
    fn scripts_of_known_commands_are_understood() {
        for script in [
            "trap 'exit 0' TERM; while :; do sleep 1; done",
            "echo kept > /data/file; sync; trap 'exit 0' TERM; while :; do sleep 1; done",
            "cat /data/file > /dev/termination-log 2>&1",
            "test -b /dev/disk && exec sleep 100000",
            "test -e /scrub && find /scrub -mindepth 1 -delete && test -z \"$(ls -A /scrub)\" || exit 1",
            "test -e /scrub && rm -rf /scrub/..?* /scrub/.[!.]* /scrub/*  && test -z \"$(ls -A /scrub)\" || exit 1",
            "if [ -f /data/f ]; then cat /data/f; else echo \"$GREETING\" > /data/f; fi",
            "# a note\necho a >> /data/log && \\\n  cat < /data/log 2> /dev/null",
        ] {
            assert!(matches!(program(script), Program::Script(_)), "{script}");
        }
    }

    #[test]
    fn anything_else_is_a_service() {
        for script in [
            "nginx -g 'daemon off;'",
            "echo a | tee /data/f",
            "sleep 5 & wait",
            "for f in a b; do echo $f; done",
            "echo $((1 + 1))",
            "(cd /data; ls)",
            "cat <<EOF\na\nEOF",
            "echo 'unfinished",
            "while true; do echo x",
            "$(which sh)",
        ] {
            assert_eq!(program(script), Program::Service, "{script}");
        }
        assert_eq!(Program::of(&[], &[]), Program::Service);
        assert_eq!(Program::of(&["/pause".into()], &[]), Program::Service);
        assert!(matches!(Program::of(&["sleep".into()], &["5".into()]), Program::Script(_)));
    }
}
