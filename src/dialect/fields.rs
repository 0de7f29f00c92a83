//! Fields of an upstream's JSON, read so that a wrong type in one never loses the others.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::cursor::Cursor;

/// A higher count is a lie or a fault (FAULTS L18).
pub(super) const MAX_COUNT: u64 = 1_000_000_000;

/// A count of tokens or units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Count {
    /// Missing or null.
    #[default]
    Absent,
    /// An integer from 0 to [`MAX_COUNT`].
    Of(u64),
    /// Anything else.
    Invalid,
}

impl Count {
    /// This count, or `other` where this one is absent.
    pub(super) const fn or(self, other: Self) -> Self {
        match self {
            Self::Absent => other,
            Self::Of(_) | Self::Invalid => self,
        }
    }

    /// Walks a count or `null`; anything else is for a full parser.
    pub(super) fn walk(cursor: &mut Cursor<'_>) -> Option<Self> {
        if cursor.is_null()? {
            return Some(Self::Absent);
        }
        cursor.number()?.parse().ok().map(Self::checked)
    }

    /// The count; an absent or invalid one is none.
    pub(super) const fn get(self) -> Option<u64> {
        match self {
            Self::Of(count) => Some(count),
            Self::Absent | Self::Invalid => None,
        }
    }

    /// The count as a part of something, 0 where there is none.
    pub(super) const fn part(self) -> u64 {
        match self {
            Self::Of(count) => count,
            Self::Absent | Self::Invalid => 0,
        }
    }

    pub(super) const fn is_invalid(self) -> bool {
        matches!(self, Self::Invalid)
    }

    const fn checked(count: u64) -> Self {
        if count <= MAX_COUNT { Self::Of(count) } else { Self::Invalid }
    }
}

/// A duration in seconds, rounded up; here a fraction is legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Seconds(pub(super) Count);

/// A string; empty where the value is null or of another type.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

/// A word that some upstreams write as a number: error codes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Label(pub(super) String);

/// A value as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raw<'a>(pub(super) &'a str);

/// A value of the expected shape; none where it has another, or is null.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Loose<T>(pub(super) Option<T>);

struct CountVisitor;
struct SecondsVisitor;
struct TextVisitor;
struct LabelVisitor;

/// The visits that a tolerant visitor answers with the same value, whatever is there.
macro_rules! otherwise {
    ($value:expr; $($visit:ident: $of:ty),* $(,)?) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        $(fn $visit<E>(self, _: $of) -> Result<Self::Value, E> {
            Ok($value)
        })*
        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok($value)
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok($value)
        }
    };
}

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;
    otherwise!(Count::Invalid; visit_bool: bool, visit_i64: i64, visit_f64: f64, visit_str: &str);

    fn visit_u64<E>(self, count: u64) -> Result<Count, E> {
        Ok(Count::checked(count))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count::Absent)
    }
}

impl<'de> Visitor<'de> for SecondsVisitor {
    type Value = Seconds;
    otherwise!(Seconds(Count::Invalid); visit_bool: bool, visit_i64: i64, visit_str: &str);

    fn visit_u64<E>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(Count::checked(seconds)))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    fn visit_f64<E>(self, seconds: f64) -> Result<Seconds, E> {
        let up = seconds.ceil();
        let known = (0.0..=1e9).contains(&seconds);
        Ok(Seconds(if known { Count::checked(up as u64) } else { Count::Invalid }))
    }

    fn visit_unit<E>(self) -> Result<Seconds, E> {
        Ok(Seconds(Count::Absent))
    }
}

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;
    otherwise!(Text::default(); visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64);

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Text<'de>, E> {
        Ok(Text::default())
    }
}

impl<'de> Visitor<'de> for LabelVisitor {
    type Value = Label;
    otherwise!(Label::default(); visit_bool: bool, visit_f64: f64);

    fn visit_i64<E>(self, number: i64) -> Result<Label, E> {
        Ok(Label(number.to_string()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Label, E> {
        Ok(Label(number.to_string()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Label, E> {
        Ok(Label(clipped(text, 256).to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Label, E> {
        Ok(Label::default())
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(CountVisitor)
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(SecondsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(from).map(|raw| Self(raw.get()))
    }
}

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(LabelVisitor)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Loose<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let raw = <&'de RawValue>::deserialize(from)?;
        Ok(Self(serde_json::from_str(raw.get()).ok()))
    }
}

impl<T> Default for Loose<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Loose<Vec<T>> {
    /// The elements; none where there is no list.
    pub(super) fn all(&self) -> &[T] {
        self.0.as_deref().unwrap_or_default()
    }
}

impl<'a> Text<'a> {
    /// Walks a string or `null`; anything else is for a full parser.
    pub(super) fn walk(cursor: &mut Cursor<'a>) -> Option<Self> {
        if cursor.is_null()? {
            return Some(Self::default());
        }
        cursor.string()?.text().map(Self)
    }

    /// The text, if there is any.
    pub(super) fn some(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }
}

/// At most `most` bytes of `text`, cut between characters.
pub(super) fn clipped(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
