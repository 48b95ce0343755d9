//! Protobuf's wire format: numbered fields, without knowing what they mean.
//!
//! The reader gives back slices of what it was given and copies nothing. Its
//! refusals are in the words of the decoders that Kubernetes generates.

/// Why bytes are no message.
pub(super) type Refusal = String;

/// The fields of a message in the order in which they were written. Ends after
/// the first refusal.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    message: &'static str,
}

/// A field as it stands in a message.
pub(super) struct Found<'a> {
    pub number: u32,
    pub content: Content<'a>,
}

/// What a field holds.
pub(super) enum Content<'a> {
    /// A number, a truth value.
    Varint(u64),
    /// Text, bytes, a message, or several numbers.
    Bytes(&'a [u8]),
    /// What no field of ours has: its wire type.
    Other(u64),
}

const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED_32: u64 = 5;

impl<'a> Fields<'a> {
    /// The fields of a message; its name is for refusals.
    pub fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Self { rest: bytes, message }
    }

    fn read(&mut self) -> Result<Found<'a>, Refusal> {
        let tag = varint(&mut self.rest)?;
        let wire_type = tag & 7;
        if wire_type == GROUP_END {
            return Err(format!("proto: {}: wiretype end group for non-group", self.message));
        }
        // The generated decoders keep 32 bits, and what is signed then.
        let number = (tag >> 3) as i32;
        let number = u32::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| {
            format!("proto: {}: illegal tag {number} (wire type {tag})", self.message)
        })?;
        Ok(Found { number, content: content(&mut self.rest, wire_type)? })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Found<'a>, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = &[];
        }
        Some(read)
    }
}

impl<'a> Content<'a> {
    /// The number in a field of that name.
    pub fn varint(&self, field: &str) -> Result<u64, Refusal> {
        match self {
            Self::Varint(value) => Ok(*value),
            other => Err(other.wrong_type(field)),
        }
    }

    /// The bytes in a field of that name.
    pub fn bytes(&self, field: &str) -> Result<&'a [u8], Refusal> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(other.wrong_type(field)),
        }
    }

    /// The text in a field of that name.
    pub fn text(&self, field: &str) -> Result<String, Refusal> {
        self.bytes(field).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    fn wrong_type(&self, field: &str) -> Refusal {
        let found = match self {
            Self::Varint(_) => VARINT,
            Self::Bytes(_) => BYTES,
            Self::Other(wire_type) => *wire_type,
        };
        // As Go names the field.
        let mut letters = field.chars();
        let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
        format!("proto: wrong wireType = {found} for field {first}{}", letters.as_str())
    }
}

/// The numbers that stand one after the other in a packed field.
pub(super) fn packed(mut bytes: &[u8]) -> impl Iterator<Item = Result<u64, Refusal>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let value = varint(&mut bytes);
        if value.is_err() {
            bytes = &[];
        }
        Some(value)
    })
}

fn content<'a>(rest: &mut &'a [u8], wire_type: u64) -> Result<Content<'a>, Refusal> {
    Ok(match wire_type {
        VARINT => Content::Varint(varint(rest)?),
        BYTES => {
            let length = varint(rest)?;
            Content::Bytes(take(rest, length)?)
        }
        other => {
            skip(rest, other)?;
            Content::Other(other)
        }
    })
}

/// Goes past what is never read: fixed numbers, and groups with all in them.
fn skip(rest: &mut &[u8], wire_type: u64) -> Result<(), Refusal> {
    match wire_type {
        FIXED_64 => take(rest, 8).map(drop),
        FIXED_32 => take(rest, 4).map(drop),
        GROUP => skip_group(rest),
        other => Err(format!("proto: illegal wireType {other}")),
    }
}

/// Counts groups in groups instead of calling itself: bytes decide how deep.
fn skip_group(rest: &mut &[u8]) -> Result<(), Refusal> {
    let mut open = 1_usize;
    while open > 0 {
        match varint(rest)? & 7 {
            GROUP => open += 1,
            GROUP_END => open -= 1,
            inner => {
                content(rest, inner)?;
            }
        }
    }
    Ok(())
}

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Refusal> {
    if length > i64::MAX as u64 {
        return Err("proto: negative length found during unmarshaling".to_owned());
    }
    let end = usize::try_from(length).unwrap_or(usize::MAX);
    let (taken, after) = rest.split_at_checked(end).ok_or_else(truncated)?;
    *rest = after;
    Ok(taken)
}

fn varint(rest: &mut &[u8]) -> Result<u64, Refusal> {
    let mut value = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, after) = rest.split_first().ok_or_else(truncated)?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err("proto: integer overflow".to_owned())
}

fn truncated() -> Refusal {
    "unexpected EOF".to_owned()
}

/// A message in the making.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A field that is a number or a truth value.
    pub fn varint(&mut self, number: u32, value: u64) {
        self.tag(number, VARINT);
        self.push(value);
    }

    /// A field that is text, bytes, or a message.
    pub fn bytes(&mut self, number: u32, content: &[u8]) {
        self.tag(number, BYTES);
        self.push(content.len() as u64);
        self.0.extend_from_slice(content);
    }

    pub fn message(&mut self, number: u32, inner: &Message) {
        self.bytes(number, &inner.0);
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn tag(&mut self, number: u32, wire_type: u64) {
        self.push(u64::from(number) << 3 | wire_type);
    }

    fn push(&mut self, mut value: u64) {
        while value >= 0x80 {
            // The low seven bits, and a mark that more follow.
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<u32>, Refusal> {
        Fields::new(bytes, "Pod").map(|found| found.map(|found| found.number)).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let mut message = Message::default();
        message.varint(1, u64::MAX);
        message.bytes(16, &[b'x'; 300]);
        let bytes = message.into_bytes();
        assert_eq!(bytes.len(), 11 + 4 + 300);
        let mut fields = Fields::new(&bytes, "Pod").map(|found| found.expect("a field"));
        let first = fields.next().expect("two fields");
        assert_eq!((first.number, first.content.varint("a")), (1, Ok(u64::MAX)));
        let second = fields.next().expect("two fields");
        assert_eq!((second.number, second.content.bytes("b")), (16, Ok(&[b'x'; 300][..])));
        assert_eq!(
            second.content.varint("replicas").unwrap_err(),
            "proto: wrong wireType = 2 for field Replicas"
        );
    }

    #[test]
    fn unknown_kinds_of_content_are_passed_over() {
        // Eight bytes, four bytes, and a group in a group with a text.
        let mut bytes = vec![0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x15, 0, 0, 0, 0];
        bytes.extend([0x1b, 0x1b, 0x0a, 1, b'x', 0x1c, 0x1c, 0x20, 7]);
        assert_eq!(read(&bytes), Ok(vec![1, 2, 3, 4]));
    }

    #[test]
    fn broken_messages_are_refused_in_the_words_of_generated_decoders() {
        for (bytes, refusal) in [
            (&[0x0a, 5, b'x'][..], "unexpected EOF"),
            (&[0x08][..], "unexpected EOF"),
            (&[0x1b, 0x08, 1][..], "unexpected EOF"),
            (
                &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255][..],
                "proto: integer overflow",
            ),
            (
                &[0x0a, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1][..],
                "proto: negative length found during unmarshaling",
            ),
            (&[0x0c][..], "proto: Pod: wiretype end group for non-group"),
            (&[0x02, 0][..], "proto: Pod: illegal tag 0 (wire type 2)"),
            (&[0x0f][..], "proto: illegal wireType 7"),
        ] {
            assert_eq!(read(bytes), Err(refusal.to_owned()), "{bytes:?}");
        }
        assert_eq!(read(&[0x1b; 100_000]), Err("unexpected EOF".to_owned()));
    }
}
