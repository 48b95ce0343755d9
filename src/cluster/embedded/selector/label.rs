//! Label selectors: words, symbols, requirements.

use std::sync::Arc;

use crate::model::selector::{Operator, Requirement};

/// A piece of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Symbol(&'static str),
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Symbol(symbol) => symbol,
            Self::End => "",
        }
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let symbol = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"]
            .into_iter()
            .find(|s| rest.starts_with(s));
        let length = match symbol {
            Some(symbol) => {
                tokens.push(Token::Symbol(symbol));
                symbol.len()
            }
            None => {
                let special = |c: char| c.is_whitespace() || "=!(),<>".contains(c);
                let end = rest.find(special).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                end
            }
        };
        rest = rest[length..].trim_start();
    }
    tokens.push(Token::End);
    tokens
}

/// Reads `a=b,c in (d,e),!f`.
pub fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut parser = Parser { tokens: tokens(text), at: 0 };
    let mut requirements = Vec::new();
    if parser.peek() == &Token::End {
        return Ok(requirements);
    }
    loop {
        let requirement =
            parser.requirement().map_err(|why| format!("unable to parse requirement: {why}"))?;
        requirements.push(requirement);
        match parser.next() {
            Token::End => return Ok(requirements),
            Token::Symbol(",") => match parser.peek() {
                Token::Word(_) | Token::Symbol("!") => {}
                other => {
                    return Err(format!(
                        "found '{}', expected: identifier after ','",
                        other.text()
                    ));
                }
            },
            other => {
                return Err(format!("found '{}', expected: ',' or 'end of string'", other.text()));
            }
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == &Token::Symbol("!");
        if absent {
            self.at += 1;
        }
        let key = match self.next() {
            Token::Word(word) => word,
            other => return Err(format!("found '{}', expected: identifier", other.text())),
        };
        check_label_key(&key)?;
        let requirement = |operator, values: Vec<String>| Requirement {
            key: key.as_str().into(),
            operator,
            values: values.into_iter().map(Arc::from).collect(),
        };
        if absent {
            return Ok(requirement(Operator::DoesNotExist, Vec::new()));
        }
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok(requirement(Operator::Exists, Vec::new()));
        }
        let operator = match self.next() {
            Token::Symbol("=" | "==") => Operator::In,
            Token::Symbol("!=") => Operator::NotIn,
            Token::Symbol(">") => Operator::Gt,
            Token::Symbol("<") => Operator::Lt,
            Token::Word(word) if word == "in" => {
                return Ok(requirement(Operator::In, self.value_set()?));
            }
            Token::Word(word) if word == "notin" => {
                return Ok(requirement(Operator::NotIn, self.value_set()?));
            }
            other => {
                return Err(format!(
                    "found '{}', expected: in, notin, =, ==, !=, gt, lt",
                    other.text()
                ));
            }
        };
        let value = self.value()?;
        if matches!(operator, Operator::Gt | Operator::Lt) && value.parse::<i64>().is_err() {
            return Err("for 'Gt', 'Lt' operators, the value must be an integer".to_owned());
        }
        Ok(requirement(operator, vec![value]))
    }

    fn value(&mut self) -> Result<String, String> {
        match self.peek().clone() {
            // `a=` selects the empty value.
            Token::End | Token::Symbol(",") => Ok(String::new()),
            Token::Word(word) => {
                self.at += 1;
                check_label_value(&word)?;
                Ok(word)
            }
            other => Err(format!("found '{}', expected: identifier", other.text())),
        }
    }

    fn value_set(&mut self) -> Result<Vec<String>, String> {
        match self.next() {
            Token::Symbol("(") => {}
            other => return Err(format!("found '{}' expected: '('", other.text())),
        }
        let mut values = Vec::new();
        loop {
            match self.next() {
                Token::Word(word) => {
                    check_label_value(&word)?;
                    values.push(word);
                    match self.next() {
                        Token::Symbol(",") => {}
                        Token::Symbol(")") => return Ok(values),
                        other => {
                            return Err(format!("found '{}', expected: ',' or ')'", other.text()));
                        }
                    }
                }
                Token::Symbol(",") => values.push(String::new()),
                Token::Symbol(")") => {
                    values.push(String::new());
                    return Ok(values);
                }
                other => {
                    return Err(format!(
                        "found '{}', expected: ',', ')' or identifier",
                        other.text()
                    ));
                }
            }
        }
    }
}

fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn check_label_key(key: &str) -> Result<(), String> {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    if is_label_text(name) {
        return Ok(());
    }
    Err(format!(
        "key: Invalid value: \"{key}\": name part must consist of alphanumeric characters, '-', '_' or '.', \
         and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', \
         regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
    ))
}

fn check_label_value(value: &str) -> Result<(), String> {
    if value.is_empty() || is_label_text(value) {
        return Ok(());
    }
    Err(format!(
        "values[0][]: Invalid value: \"{value}\": a valid label must be an empty string or consist of alphanumeric \
         characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or \
         'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selects(selector: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Vec<(Arc<str>, Arc<str>)> =
            labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let requirements = parse(selector).expect(selector);
        requirements.iter().all(|requirement| requirement.holds(&labels))
    }

    #[test]
    fn every_operator_selects_as_written() {
        for (selector, with_b, with_5, without) in [
            ("a=b", true, false, false),
            ("a==b", true, false, false),
            ("a!=b", false, true, true),
            ("a in (b, c)", true, false, false),
            ("a notin (b,c)", false, true, true),
            ("a", true, true, false),
            ("!a", false, false, true),
            ("a>4", false, true, false),
            ("a<6", false, true, false),
            ("", true, true, true),
            ("a,a!=b", false, true, false),
        ] {
            assert_eq!(selects(selector, &[("a", "b")]), with_b, "{selector} on a=b");
            assert_eq!(selects(selector, &[("a", "5")]), with_5, "{selector} on a=5");
            assert_eq!(selects(selector, &[]), without, "{selector} on nothing");
        }
    }

    #[test]
    fn a_bad_selector_says_what_was_found() {
        for (selector, why) in [
            (
                "a nearby b",
                "unable to parse requirement: found 'nearby', expected: in, notin, =, ==, !=, gt, lt",
            ),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            ("a=b c", "found 'c', expected: ',' or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
        ] {
            assert_eq!(parse(selector), Err(why.to_owned()), "{selector}");
        }
        assert!(parse("a>b").is_err());
        assert!(parse("-a=b").is_err());
    }
}
