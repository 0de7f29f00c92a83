//! Numbers as people write them in the config: `30s`, `8MiB`, `75%`, `0.25`. Parsed once, here.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::money::{NanoUsd, PicoUsd};

/// A decimal number read from text without passing through a float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decimal {
    digits: i128,
    /// The value is `digits * 10^exponent`.
    exponent: i32,
}

impl Decimal {
    /// Reads `12`, `-0.25`, `1_000`, `1e-7`.
    ///
    /// # Errors
    /// When the text is not a decimal number, or has more than 30 digits.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a decimal number");
        let trimmed = text.trim();
        let (mantissa, exponent) = match trimmed.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().map_err(|_| fault())?),
            None => (trimmed, 0),
        };
        let (negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let kept: String = whole.chars().chain(fraction.chars()).filter(|c| *c != '_').collect();
        let all_digits = !kept.is_empty() && kept.bytes().all(|b| b.is_ascii_digit());
        if !all_digits || kept.len() > 30 || !(-60..=60).contains(&exponent) {
            return Err(fault());
        }
        let digits: i128 = kept.parse().map_err(|_| fault())?;
        let places = fraction.bytes().filter(|b| *b != b'_').count();
        let places = i32::try_from(places).map_err(|_| fault())?;
        Ok(Self { digits: if negative { -digits } else { digits }, exponent: exponent - places })
    }

    /// The value times `10^places`, exactly.
    ///
    /// # Errors
    /// When the value has more than `places` fractional digits, or is out of range.
    pub fn scaled(self, places: i32) -> Result<i128, String> {
        let shift = self.exponent + places;
        let factor = 10_i128.checked_pow(shift.unsigned_abs()).ok_or("the number is out of range")?;
        if shift >= 0 {
            return self.digits.checked_mul(factor).ok_or_else(|| "the number is out of range".into());
        }
        if self.digits % factor != 0 {
            return Err(format!("the number has more than {places} fractional digits"));
        }
        Ok(self.digits / factor)
    }
}

/// A duration written `250ms`, `30s`, `5m`, `2h` or `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A size in bytes written `512`, `64KiB`, `8MiB` or `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A share written `75%`, in whole percent, 1 to 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u8);

/// An amount in USD written as a decimal: `500`, `0.25`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Usd(pub NanoUsd);

/// A rate in USD per million units, written as a decimal: `2.50`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct UsdPerMillion(pub PicoUsd);

/// A value that the config writes as text of one format.
pub trait Written: Sized + fmt::Display {
    /// The JSON Schema `format` by which the config loader knows it.
    const FORMAT: &'static str;
    /// What a right value looks like, for hints.
    const EXAMPLE: &'static str;
    /// Reads the text.
    ///
    /// # Errors
    /// When the text is not of the format; the message names the value.
    fn read(text: &str) -> Result<Self, String>;
}

impl Written for Span {
    const FORMAT: &'static str = "tollgate-duration";
    const EXAMPLE: &'static str = "30s, 250ms, 5m, 2h, 7d";
    fn read(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => {
                return Err(format!("`{text}` is not a duration such as {}", Self::EXAMPLE));
            }
        };
        let number: u64 =
            number.parse().map_err(|_| format!("`{text}` is not a duration such as {}", Self::EXAMPLE))?;
        number
            .checked_mul(millis)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| format!("`{text}` is too long"))
    }
}

impl Written for Size {
    const FORMAT: &'static str = "tollgate-size";
    const EXAMPLE: &'static str = "512, 64KiB, 8MiB, 1GiB";
    fn read(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let shift = match unit {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            _ => return Err(format!("`{text}` is not a size such as {}", Self::EXAMPLE)),
        };
        let number: u64 =
            number.parse().map_err(|_| format!("`{text}` is not a size such as {}", Self::EXAMPLE))?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| format!("`{text}` is too large"))
    }
}

impl Written for Percent {
    const FORMAT: &'static str = "tollgate-percent";
    const EXAMPLE: &'static str = "75%";
    fn read(text: &str) -> Result<Self, String> {
        let fault = || format!("`{text}` is not a share such as {}", Self::EXAMPLE);
        let number: u8 =
            text.trim().strip_suffix('%').ok_or_else(fault)?.trim().parse().map_err(|_| fault())?;
        if (1..=100).contains(&number) { Ok(Self(number)) } else { Err(fault()) }
    }
}

impl Written for Usd {
    const FORMAT: &'static str = "tollgate-usd";
    const EXAMPLE: &'static str = "500, 0.25";
    fn read(text: &str) -> Result<Self, String> {
        let amount = NanoUsd::parse_usd(text)?;
        if amount < NanoUsd::ZERO { Err(format!("{text} USD is negative")) } else { Ok(Self(amount)) }
    }
}

impl Written for UsdPerMillion {
    const FORMAT: &'static str = "tollgate-usd-per-million";
    const EXAMPLE: &'static str = "2.50";
    fn read(text: &str) -> Result<Self, String> {
        PicoUsd::parse_usd_per_million(text).map(Self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis > 0 && millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        write!(f, "{millis}ms")
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 > 0 && self.0.is_multiple_of(1 << shift) {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UsdPerMillion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // pico-USD per unit is micro-USD per million units; print through the nano-USD writer
        let nanos = i64::try_from(self.0.as_picos()).unwrap_or(i64::MAX).saturating_mul(1_000);
        NanoUsd::new(nanos).fmt(f)
    }
}

fn split_unit(text: &str) -> (String, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '_')).unwrap_or(text.len());
    (text[..end].replace('_', ""), text[end..].trim())
}

/// Reads and writes a [`Written`] value as config text, with its JSON Schema.
macro_rules! written_in_config {
    ($($type:ident),+) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::read(&text).map_err(de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": ["string", "number"], "format": <$type as Written>::FORMAT, "description": <$type as Written>::EXAMPLE })
            }
        }
    )+};
}

written_in_config!(Span, Size, Percent, Usd, UsdPerMillion);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_sizes_and_shares_read_back() {
        for text in ["250ms", "30s", "5m", "2h", "7d"] {
            assert_eq!(Span::read(text).unwrap().to_string(), text);
        }
        for text in ["512", "64KiB", "8MiB", "1GiB"] {
            assert_eq!(Size::read(text).unwrap().to_string(), text);
        }
        assert_eq!(Percent::read("75%"), Ok(Percent(75)));
        assert_eq!(UsdPerMillion::read("2.50").unwrap().to_string(), "2.50");
    }

    #[test]
    fn what_is_not_a_unit_is_refused_with_an_example() {
        assert!(Span::read("30").unwrap_err().contains("30s"));
        assert!(Size::read("8MB").unwrap_err().contains("8MiB"));
        assert!(
            Percent::read("101%").is_err() && Percent::read("0%").is_err() && Percent::read("75").is_err()
        );
        assert!(Usd::read("-1").is_err() && Usd::read("NaN").is_err() && Usd::read("").is_err());
    }
}
