//! Image sizes and their tokens, against published examples.

use proptest::prelude::*;

use super::*;

/// A 1920 by 1080 JPEG whose frame stands behind two other segments.
fn jpeg() -> String {
    format!("/9j/4AAQSkZJRgABAQAAAQABAAD/2wBD{}D/wgARCAQ4B4ADAAAAAAAAAAAA", "A".repeat(86))
}

#[test]
fn the_size_of_an_inline_image_is_in_its_header() {
    for (data, size) in [
        ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAIAAAA=", Some((1024, 768))),
        ("iVBORw0KGgoAAAANSUhEUgAABAAAAAMACAIAAAA=", Some((1024, 768))),
        ("R0lGODlhgALgAQAAAA==", Some((640, 480))),
        (&jpeg(), Some((1920, 1080))),
        ("UklGRmQAAABXRUJQVlA4WAoAAAAAAAAAHwMAVwIA", Some((800, 600))),
        ("UklGRmQAAABXRUJQVlA4TAoAAAAvH8OVAA==", Some((800, 600))),
        ("UklGRmQAAABXRUJQVlA4IAoAAAAAAACdASogA1gC", Some((800, 600))),
        ("https://example.com/cat.png", None),
        ("data:image/png,raw", None),
        ("iVBORw0KGgo", None),
        ("", None),
    ] {
        assert_eq!(size_of_base64(data), size, "{data}");
    }
}

#[test]
fn tokens_are_those_the_providers_publish() {
    for (model, detail, size, count) in [
        ("gpt-4o", Detail::High, Some((1024, 1024)), 765),
        ("gpt-4o", Detail::High, Some((2048, 4096)), 1105),
        ("gpt-4o", Detail::Low, Some((4096, 8192)), 85),
        ("openai/gpt-4o-2024-08-06", Detail::High, Some((512, 512)), 255),
        ("gpt-4o-mini", Detail::Low, None, 2833),
        ("gpt-5.1", Detail::High, Some((512, 512)), 210),
        ("o3", Detail::High, Some((512, 512)), 225),
        ("gpt-4.1-mini", Detail::High, Some((1024, 1024)), 1659),
        ("gpt-4.1-mini", Detail::High, Some((4096, 4096)), 6636),
        // the published example of shrinking: 33 by 44 patches
        ("o4-mini", Detail::High, Some((1800, 2400)), 2498),
        ("o4-mini", Detail::High, Some((2400, 1800)), 2498),
        ("gpt-5-mini", Detail::Low, Some((1024, 512)), 208),
        ("gpt-5.5", Detail::High, Some((2400, 1600)), 2880),
        ("gpt-5.5", Detail::Original, Some((3200, 1600)), 6000),
        ("gpt-5.5", Detail::Original, Some((12_000, 320)), 1128),
        ("gpt-5.2", Detail::Original, Some((3200, 1600)), 2458),
        ("gpt-6-astra", Detail::Original, Some((12_000, 320)), 4500),
        ("gpt-5.5", Detail::Low, None, 308),
        ("claude-sonnet-4-5", Detail::High, Some((1092, 1092)), 1521),
        ("claude-sonnet-4-5", Detail::High, Some((4000, 4000)), 1521),
        ("claude-opus-4-7", Detail::High, Some((1932, 1932)), 4761),
        ("claude-3-5-sonnet-20241022", Detail::High, None, 1568),
        ("claude-opus-4-20250514", Detail::High, None, 1568),
        ("anthropic/claude-opus-4.7", Detail::High, None, 4784),
        ("claude-sonnet-5", Detail::High, None, 4784),
        ("claude-next", Detail::High, None, 4784),
    ] {
        assert_eq!(tokens(model, detail, size), count, "{model} {detail:?} {size:?}");
    }
}

proptest! {
    #[test]
    fn no_image_costs_more_than_the_most(width in 0_u32..20_000, height in any::<u32>(), model in 0..RULES.len() + 2) {
        let claude = ["claude-3-opus", "claude-opus-5"];
        let model = RULES.get(model).map_or_else(|| claude[model - RULES.len()], |(name, _)| *name);
        for detail in [Detail::Low, Detail::High, Detail::Original] {
            prop_assert!(tokens(model, detail, Some((width, height))) <= most_tokens(model), "{}", model);
            prop_assert!(tokens(model, detail, None) <= most_tokens(model), "{}", model);
        }
    }

    #[test]
    fn any_bytes_have_a_size_or_none(head in proptest::collection::vec(any::<u8>(), 0..64), kind in 0..4_usize) {
        let magic: [&[u8]; 4] = [b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"RIFFxxxxWEBPVP8X"];
        let head = [magic[kind], &head].concat();
        let _: Option<Size> = size(&head);
        let short = size(&head[..head.len().min(6)]);
        prop_assert_eq!(short, None);
    }
}
