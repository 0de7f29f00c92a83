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
    /// Patches of 32 pixels, times thousandths. A picture shrinks to a longest side and to a budget of patches.
    /// At `original`, those that know it take a larger one.
    Patches { side: u64, budget: u64, thousandths: u64, original: Option<(u64, u64)> },
    /// Patches of 28 pixels, of a picture that shrinks to a longest side and to a cap.
    Anthropic { side: u64, cap: u64 },
}

const fn patches_of(budget: u64, thousandths: u64) -> Rule {
    Rule::Patches { side: ANY_SIDE, budget, thousandths, original: None }
}

/// Patch models that take a longest side of 2048, and those that know `original`.
const fn wide(thousandths: u64) -> Rule {
    Rule::Patches { side: 2048, budget: 6144, thousandths, original: None }
}

const fn newest(original_side: u64) -> Rule {
    let original = Some((original_side, ORIGINAL_PATCHES));
    Rule::Patches { side: ANY_SIDE, budget: 2500, thousandths: 1200, original }
}

/// By prefix, first match wins: longer names stand before their families. WIRE 3.2; where it gives two figures, the
/// larger stands here.
const RULES: &[(&str, Rule)] = &[
    ("gpt-4o-mini", Rule::Tiles { base: 2833, tile: 5667 }),
    ("gpt-4.1-mini", wide(1620)),
    ("gpt-4.1-nano", patches_of(1536, 2460)),
    ("gpt-4", Rule::Tiles { base: 85, tile: 170 }),
    ("chatgpt-4o", Rule::Tiles { base: 85, tile: 170 }),
    ("gpt-5-mini", patches_of(1536, 1620)),
    ("gpt-5-nano", patches_of(1536, 2460)),
    ("gpt-5.1", Rule::Tiles { base: 70, tile: 140 }),
    ("gpt-5.2", wide(1200)),
    ("gpt-5.4", newest(6_000)),
    ("gpt-5.5", newest(6_000)),
    ("gpt-5.", newest(ANY_SIDE)),
    ("gpt-5", Rule::Tiles { base: 70, tile: 140 }),
    ("gpt-6", newest(ANY_SIDE)),
    ("o4-mini", patches_of(1536, 1720)),
    ("o1", Rule::Tiles { base: 75, tile: 150 }),
    ("o3", Rule::Tiles { base: 75, tile: 150 }),
];

/// Claude since 4.7, and before.
const CLAUDE: Rule = Rule::Anthropic { side: 2576, cap: 4784 };
const EARLY_CLAUDE: Rule = Rule::Anthropic { side: 1568, cap: 1568 };

/// For models without a rule.
const DEFAULT_RULE: Rule = Rule::Tiles { base: 85, tile: 170 };

/// The largest picture after scaling for tiles: 768 by 2048 pixels.
const MAX_TILES: u64 = 8;
/// A picture at `low` is made to fit in 512 pixels.
const LOW_SIDE: u64 = 512;
const LOW_PATCHES: u64 = 256;
/// Patches of the largest picture at `original`; the newest models name no limit there.
const ORIGINAL_PATCHES: u64 = 10_000;
const ANY_SIDE: u64 = u64::MAX;

/// The tokens of one image; without a size, of the largest one.
pub(super) fn tokens(model: &str, detail: Detail, size: Option<Size>) -> u64 {
    match (rule(model).unwrap_or(DEFAULT_RULE), detail) {
        (Rule::Tiles { base, .. }, Detail::Low) => base,
        (Rule::Tiles { base, tile }, _) => base + tile * size.map_or(MAX_TILES, tiles),
        (Rule::Patches { side, budget, thousandths, original }, _) => {
            let (side, budget) = match (detail, original) {
                (Detail::Low, _) => (LOW_SIDE, LOW_PATCHES),
                (Detail::Original, Some(larger)) => larger,
                (Detail::High | Detail::Original, _) => (side, budget),
            };
            let all = size.map_or(budget, |size| patches(within_side(size, side), 32, budget));
            (all * thousandths).div_ceil(1000)
        }
        (Rule::Anthropic { side, cap }, _) => {
            size.map_or(cap, |size| patches(within_side(size, side), 28, cap))
        }
    }
}

/// The most that one image can cost, whatever its size and detail. A model without a rule may be
/// another name for any of them.
pub(super) fn most_tokens(model: &str) -> u64 {
    if has_rule(model) {
        tokens(model, Detail::High, None).max(tokens(model, Detail::Original, None))
    } else {
        tokens("gpt-6", Detail::Original, None)
    }
}

/// Whether a rule is known for models of this name.
pub(super) fn has_rule(model: &str) -> bool {
    rule(model).is_some()
}

fn rule(model: &str) -> Option<Rule> {
    let model = bare(model);
    if model.starts_with("claude-") {
        return Some(if is_early_claude(model) { EARLY_CLAUDE } else { CLAUDE });
    }
    RULES.iter().find(|(prefix, _)| model.starts_with(prefix)).map(|(_, rule)| *rule)
}

/// Whether a name has a version below 4.7: `claude-3-5-sonnet-20241022`, `claude-opus-4-20250514`. Names without
/// one are the newest.
fn is_early_claude(model: &str) -> bool {
    let mut version = model.split(['-', '.', '@']).skip_while(|part| number(part).is_none());
    let (Some(major), minor) = (version.next().and_then(number), version.next().and_then(number)) else {
        return false;
    };
    (major, minor.unwrap_or(0)) < (4, 7)
}

/// A part of a version; a date is none.
fn number(part: &str) -> Option<u32> {
    part.parse().ok().filter(|number| *number < 1_000)
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

/// The picture after its longest side was brought down to `side`.
fn within_side((width, height): Size, side: u64) -> (u64, u64) {
    let (width, height) = (u64::from(width).max(1), u64::from(height).max(1));
    let long = width.max(height);
    let shrunk = |length: u64| (length * side).div_ceil(long);
    if long > side { (shrunk(width), shrunk(height)) } else { (width, height) }
}

/// Patches that cover a picture. One that needs more than the budget shrinks until a whole number of them fits its
/// width or its height: 1800 by 2400 pixels and 1536 patches come to 33 by 44.
fn patches((width, height): (u64, u64), patch: u64, budget: u64) -> u64 {
    let all = width.div_ceil(patch).saturating_mul(height.div_ceil(patch));
    if all <= budget {
        return all;
    }
    let (columns, rows) =
        ((budget * width / height).isqrt().max(1), (budget * height / width).isqrt().max(1));
    let shrunk = if columns * height <= rows * width {
        columns * (height * columns).div_ceil(width)
    } else {
        rows * (width * rows).div_ceil(height)
    };
    shrunk.min(budget)
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
