//! What an image in a prompt costs in tokens (WIRE 3.2), from its size where it is inline. Remote images
//! are never fetched: they count as the largest the model takes.

/// How closely the model shall look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    Low,
    High,
    Original,
}

impl Detail {
    /// `auto`, nothing and unknown words count as high.
    pub(super) fn of(word: Option<&str>) -> Self {
        match word {
            Some("low") => Self::Low,
            Some("original") => Self::Original,
            _ => Self::High,
        }
    }
}

/// Width and height in pixels.
pub(super) type Size = (u32, u32);

/// How a family of models counts.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// A base, and a price per tile of 512 pixels.
    Tiles { base: u64, tile: u64 },
    /// Patches of 32 pixels up to a budget, times thousandths.
    Patches { budget: u64, thousandths: u64 },
    /// Patches of 28 pixels up to a cap.
    Anthropic { cap: u64 },
}

/// By prefix, first match wins: longer names stand before their families.
const RULES: &[(&str, Rule)] = &[
    ("gpt-4o-mini", Rule::Tiles { base: 2833, tile: 5667 }),
    ("gpt-4.1-mini", Rule::Patches { budget: 6144, thousandths: 1620 }),
    ("gpt-4.1-nano", Rule::Patches { budget: 1536, thousandths: 2460 }),
    ("gpt-4", Rule::Tiles { base: 85, tile: 170 }),
    ("chatgpt-4o", Rule::Tiles { base: 85, tile: 170 }),
    ("gpt-5-mini", Rule::Patches { budget: 1536, thousandths: 1620 }),
    ("gpt-5-nano", Rule::Patches { budget: 1536, thousandths: 2460 }),
    ("gpt-5.1", Rule::Tiles { base: 70, tile: 140 }),
    ("gpt-5.2", Rule::Patches { budget: 6144, thousandths: 1200 }),
    ("gpt-5.", Rule::Patches { budget: 2500, thousandths: 1200 }),
    ("gpt-5", Rule::Tiles { base: 70, tile: 140 }),
    ("gpt-6", Rule::Patches { budget: 2500, thousandths: 1200 }),
    ("o4-mini", Rule::Patches { budget: 1536, thousandths: 1720 }),
    ("o1", Rule::Tiles { base: 75, tile: 150 }),
    ("o3", Rule::Tiles { base: 75, tile: 150 }),
    ("claude-", Rule::Anthropic { cap: 4784 }),
];

/// For models without a rule.
const DEFAULT_RULE: Rule = Rule::Tiles { base: 85, tile: 170 };

/// The largest picture after scaling for tiles: 768 by 2048 pixels.
const MAX_TILES: u64 = 8;
/// Patches of the largest picture at `original`; the newest models name no limit there.
const ORIGINAL_PATCHES: u64 = 10_000;
/// Patches of a picture made to fit in 512 pixels.
const LOW_PATCHES: u64 = 256;

/// The tokens of one image; without a size, of the largest one.
pub(super) fn tokens(model: &str, detail: Detail, size: Option<Size>) -> u64 {
    match (rule(model), detail) {
        (Rule::Tiles { base, .. }, Detail::Low) => base,
        (Rule::Tiles { base, tile }, _) => base + tile * size.map_or(MAX_TILES, tiles),
        (Rule::Patches { budget, thousandths }, _) => {
            let limit = match detail {
                Detail::Low => LOW_PATCHES,
                Detail::High => budget,
                Detail::Original => ORIGINAL_PATCHES,
            };
            (size.map_or(limit, |size| patches(size, 32).min(limit)) * thousandths).div_ceil(1000)
        }
        (Rule::Anthropic { cap }, _) => size.map_or(cap, |size| patches(size, 28).min(cap)),
    }
}

/// The most that one image can cost, whatever its size and detail. A model without a rule may be
/// another name for any of them.
pub(super) fn most_tokens(model: &str) -> u64 {
    if RULES.iter().any(|(prefix, _)| bare(model).starts_with(prefix)) {
        tokens(model, Detail::Original, None)
    } else {
        tokens("gpt-6", Detail::Original, None)
    }
}

fn rule(model: &str) -> Rule {
    let model = bare(model);
    RULES.iter().find(|(prefix, _)| model.starts_with(prefix)).map_or(DEFAULT_RULE, |(_, rule)| *rule)
}

fn bare(model: &str) -> &str {
    let model = model.rsplit_once('/').map_or(model, |(_, name)| name);
    model.strip_prefix("ft:").unwrap_or(model)
}

/// Tiles after scaling into a box of 2048 and then to a short side of at most 768.
fn tiles((width, height): Size) -> u64 {
    let (short, long) = (u64::from(width.min(height)).max(1), u64::from(width.max(height)).max(1));
    let (short, long) = if long > 2048 { ((short * 2048).div_ceil(long), 2048) } else { (short, long) };
    let (short, long) = if short > 768 { (768, (long * 768).div_ceil(short)) } else { (short, long) };
    short.div_ceil(512) * long.div_ceil(512)
}

fn patches((width, height): Size, side: u32) -> u64 {
    u64::from(width.div_ceil(side)) * u64::from(height.div_ceil(side))
}

/// Header bytes looked at: the size stands there in all four formats, unless a JPEG carries a large
/// preview in front.
const HEADER: usize = 64 * 1024;

/// The size of an image in base64, with or without a `data:` prefix.
pub(super) fn size_of_base64(text: &str) -> Option<Size> {
    let data = match text.strip_prefix("data:") {
        Some(url) => url.split_once(";base64,")?.1,
        None => text,
    };
    size(&decode(data.as_bytes().get(..HEADER).unwrap_or(data.as_bytes())))
}

fn size(head: &[u8]) -> Option<Size> {
    let big = |at: usize| Some(u32::from_be_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let little = |at: usize| Some(u32::from(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?)));
    match head {
        [0x89, b'P', b'N', b'G', ..] => Some((big(16)?, big(20)?)),
        [b'G', b'I', b'F', b'8', ..] => Some((little(6)?, little(8)?)),
        [0xff, 0xd8, ..] => jpeg_size(&head[2..]),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp_size(head),
        _ => None,
    }
}

/// Walks the segments up to the start of frame.
fn jpeg_size(mut rest: &[u8]) -> Option<Size> {
    while let [0xff, marker, high, low, ..] = *rest {
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if is_frame {
            let side =
                |at: usize| Some(u32::from(u16::from_be_bytes(rest.get(at..at + 2)?.try_into().ok()?)));
            return Some((side(7)?, side(5)?));
        }
        rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?;
    }
    None
}

fn webp_size(head: &[u8]) -> Option<Size> {
    let byte = |at: usize| head.get(at).copied().map(u32::from);
    match head.get(12..16)? {
        b"VP8X" => Some((
            1 + (byte(24)? | byte(25)? << 8 | byte(26)? << 16),
            1 + (byte(27)? | byte(28)? << 8 | byte(29)? << 16),
        )),
        b"VP8 " => Some(((byte(26)? | byte(27)? << 8) & 0x3fff, (byte(28)? | byte(29)? << 8) & 0x3fff)),
        b"VP8L" => {
            let bits = byte(21)? | byte(22)? << 8 | byte(23)? << 16 | byte(24)? << 24;
            Some((1 + (bits & 0x3fff), 1 + (bits >> 14 & 0x3fff)))
        }
        _ => None,
    }
}

/// Decodes base64 up to the first byte that is none.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    for &letter in text {
        let Some(value) = sextet(letter) else { break };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held).to_le_bytes()[0]);
        }
    }
    bytes
}

const fn sextet(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod tests;
