use bytes::Bytes;
use proptest::prelude::{prop_assert_eq, proptest};

use super::super::answers::Dice;
use super::super::slices::{cuts, sliced};
use super::{Judge, MAX_HELD, Unask};

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut unask = Unask::new();
    let mut out = Vec::new();
    for piece in pieces {
        unask.push(Bytes::copy_from_slice(piece), &mut out);
    }
    unask.finish(&mut out);
    String::from_utf8(out.concat()).unwrap()
}

fn whole(stream: &str) -> String {
    run([stream.as_bytes()])
}

/// What came, and what the client must get.
const CASES: &[(&str, &str)] = &[
    // OpenAI: null on every chunk, then the usage chunk.
    (
        "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n\
         data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n\
         data: [DONE]\n\n",
        "data: {\"id\":\"c\",\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n",
    ),
    // Spaces after colons and commas; null first, middle, last, alone.
    ("data: {\"a\": 1, \"usage\": null, \"b\": 2}\n\n", "data: {\"a\": 1, \"b\": 2}\n\n"),
    ("data: {\"usage\" : null , \"b\": 2 }\n\n", "data: {\"b\": 2 }\n\n"),
    ("data: {\"a\": 1 , \"usage\":null }\n\n", "data: {\"a\": 1  }\n\n"),
    ("data: { \"usage\": null }\n\n", "data: {  }\n\n"),
    ("data:{\"usage\":null,\"choices\":[1]}\r\n\r\n", "data:{\"choices\":[1]}\r\n\r\n"),
    // A usage chunk of an upstream with nothing to report would break clients that read `choices[0]`.
    ("data: {\"id\":\"c\",\"choices\":[],\"usage\":null}\n\ndata: x\n\n", "data: x\n\n"),
    // An upstream that reports on every chunk does so unasked: its last report is not ours to take.
    (
        "data: {\"choices\":[{}],\"usage\":{\"a\":1}}\n\ndata: {\"choices\":[],\"usage\":{\"a\":2}}\n\n",
        "data: {\"choices\":[{}],\"usage\":{\"a\":1}}\n\ndata: {\"choices\":[],\"usage\":{\"a\":2}}\n\n",
    ),
    // Only the top level, and never in a string.
    (
        "data: {\"m\":{\"usage\":null},\"l\":[{\"usage\":null}],\"usage\":null}\n\n",
        "data: {\"m\":{\"usage\":null},\"l\":[{\"usage\":null}]}\n\n",
    ),
    (
        "data: {\"t\":\"say \\\",\\\"usage\\\":null,\\\\\",\"v\":\"\\\\\",\"usage\":null}\n\n",
        "data: {\"t\":\"say \\\",\\\"usage\\\":null,\\\\\",\"v\":\"\\\\\"}\n\n",
    ),
    ("data: {\"t\":\"\\\"usage\\\":null\"}\n\n", "data: {\"t\":\"\\\"usage\\\":null\"}\n\n"),
    ("data: {\"t\":\"usage\",\"u\":null}\n\n", "data: {\"t\":\"usage\",\"u\":null}\n\n"),
    // Azure: no choices, but no usage either.
    (
        "data: {\"choices\":[],\"model\":\"\",\"prompt_filter_results\":[{}]}\n\n",
        "data: {\"choices\":[],\"model\":\"\",\"prompt_filter_results\":[{}]}\n\n",
    ),
    (
        "data: {\"choices\":[],\"usage\":null,\"prompt_filter_results\":[{}]}\n\n",
        "data: {\"choices\":[],\"prompt_filter_results\":[{}]}\n\n",
    ),
    // Usage on a chunk that has choices belongs to the upstream's own manners.
    (
        "data: {\"choices\":[{\"index\":0}],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":[{\"index\":0}],\"usage\":{\"total_tokens\":3}}\n\n",
    ),
    // Key order, comments, CR, and a usage chunk of several lines.
    (": ping\n\n: a\ndata: {\"usage\":{\"x\":1},\"choices\":[ ]}\n\n:\n\n", ": ping\n\n: a\n:\n\n"),
    ("data: {\"choices\":[],\"usage\":{}}\r\rdata: x\r\r", "data: x\r\r"),
    ("data: {\"choices\":[],\ndata: \"usage\":{}}\n\ndata: x\n\n", "data: x\n\n"),
    ("data: {\"a\":1,\ndata: \"usage\":null}\n\n", "data: {\"a\":1}\n\n"),
    ("data: {\"usage\":null,\ndata: \"a\":1}\n\n", "data: {\"a\":1}\n\n"),
    ("data: {\"usage\":null,\r\ndata:\r\ndata:\"a\":1}\r\n\r\n", "data: {\"a\":1}\r\n\r\n"),
    ("data: {\"a\":1,\ndata: \"usage\":null\ndata: }\n\n", "data: {\"a\":1\ndata: }\n\n"),
    ("event: e\nid: 1\ndata: {\"a\":1,\"usage\":null}\n\n", "event: e\nid: 1\ndata: {\"a\":1}\n\n"),
    ("\u{feff}data: {\"a\":1,\"usage\":null}\n\n", "\u{feff}data: {\"a\":1}\n\n"),
    // Names in escapes.
    ("data: {\"a\":1,\"\\u0075sage\":null}\n\n", "data: {\"a\":1}\n\n"),
    ("data: {\"choice\\u0073\":[],\"usag\\u0065\":{}}\n\ndata: x\n\n", "data: x\n\n"),
    (
        "data: {\"a\":1,\"\\ud800\":7,\"\\u0055sage\":null}\n\n",
        "data: {\"a\":1,\"\\ud800\":7,\"\\u0055sage\":null}\n\n",
    ),
    // No blank line at the end.
    ("data: {\"choices\":[],\"usage\":{}}\n", ""),
    ("data: {\"a\":1,\"usage\":null}", "data: {\"a\":1}"),
    // What is not plainly a chunk passes as it is.
    ("data: {\"a\":1,\"usage\":null\n\n", "data: {\"a\":1,\"usage\":null\n\n"),
    ("data: {\"a\":1,\"usage\":null}}\n\n", "data: {\"a\":1,\"usage\":null}}\n\n"),
    ("data: {\"usage\":null,\"usage\":{}}\n\n", "data: {\"usage\":null,\"usage\":{}}\n\n"),
    ("data: [\"usage\",null]\n\ndata: \"usage\"\n\n", "data: [\"usage\",null]\n\ndata: \"usage\"\n\n"),
    ("data: {\"usage\":nul}\n\n", "data: {\"usage\":nul}\n\n"),
    ("\n\n\r\n\r\r: \"usage\"\n\n", "\n\n\r\n\r\r: \"usage\"\n\n"),
];

#[test]
fn only_what_the_asking_caused_is_taken_out() {
    for (came, expected) in CASES {
        assert_eq!(whole(came), *expected, "of {came}");
    }
}

#[test]
fn every_single_cut_gives_the_same_bytes() {
    for (came, _) in CASES {
        let expected = whole(came);
        for at in 0..=came.len() {
            let (left, right) = came.as_bytes().split_at(at);
            assert_eq!(run([left, right]), expected, "cut at {at} of {came}");
        }
        assert_eq!(run(came.as_bytes().chunks(1)), expected);
    }
}

#[test]
fn an_untouched_input_goes_on_as_one_slice_of_itself() {
    let input = Bytes::from_static(b"data: {\"a\":1}\n\n: ping\n\ndata: {\"b\":2}\n\n");
    let mut out = Vec::new();
    Unask::new().push(input.clone(), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].as_ptr(), input.as_ptr());
    assert_eq!(out[0], input);
}

#[test]
fn a_complete_event_is_not_held_and_an_incomplete_one_is() {
    let mut unask = Unask::new();
    let mut out = Vec::new();
    unask.push(Bytes::from_static(b": ping\n"), &mut out);
    unask.push(Bytes::from_static(b"data: 1\n\ndata: 2\r\n\r"), &mut out);
    unask.push(Bytes::from_static(b"\ndata: 3\n"), &mut out);
    assert_eq!(out.concat(), b": ping\ndata: 1\n\ndata: 2\r\n\r\n");
    unask.push(Bytes::from_static(b"\n"), &mut out);
    assert_eq!(out.concat(), b": ping\ndata: 1\n\ndata: 2\r\n\r\ndata: 3\n\n");
}

#[test]
fn an_overlong_event_passes_untouched_and_the_next_is_judged() {
    let long = format!("data: {{\"t\":\"{}\",\"usage\":null}}\n\n", "x".repeat(MAX_HELD));
    let came = format!("{long}data: {{\"a\":1,\"usage\":null}}\n\n");
    let expected = format!("{long}data: {{\"a\":1}}\n\n");
    assert_eq!(whole(&came), expected);
    assert_eq!(run(came.as_bytes().chunks(10_000)), expected);
    let mut unask = Unask::new();
    let mut out = Vec::new();
    unask.push(Bytes::from(long.clone().into_bytes()).slice(..MAX_HELD + 2), &mut out);
    assert_eq!(out.concat().len(), MAX_HELD + 2, "more than the bound is not held");
}

/// A chunk as an upstream prints it: compact, as Python does, or over several lines.
fn printed(members: &[(String, usize)], style: usize) -> String {
    const VALUES: [&str; 6] = [
        "null",
        "[{\"usage\":null}]",
        "{\"usage\": null, \"a\": []}",
        "\"\\\"usage\\\":null,\"",
        "-1.5e3",
        "\"\\\\\"",
    ];
    let (comma, colon) = [(",", ":"), (", ", ": "), (",\ndata:   ", ": ")][style];
    let member = |(key, value): &(String, usize)| format!("{key}{colon}{}", VALUES[*value]);
    let members: Vec<String> = members.iter().map(member).collect();
    format!("data: {{{}}}\n\n", members.join(comma))
}

proptest! {
    #[test]
    fn without_its_null_a_chunk_is_as_if_nobody_had_asked(
        members in proptest::collection::vec(("[a-z\"\\\\ ,:{}]{0,6}", 0_usize..6), 0..6),
        at in 0_usize..6,
        style in 0_usize..3,
        cuts in cuts(),
    ) {
        let quoted = |(key, value): &(String, usize)| (serde_json::to_string(key).unwrap(), *value);
        let mut members: Vec<_> = members.iter().filter(|(key, _)| key != "usage").map(quoted).collect();
        let unasked = printed(&members, style);
        members.insert(at.min(members.len()), ("\"usage\"".to_owned(), 0));
        let asked = printed(&members, style);
        prop_assert_eq!(run(sliced(asked.as_bytes(), &cuts)), unasked);
    }

    #[test]
    fn slicing_never_changes_the_bytes(
        cuts in cuts(),
        picks in proptest::collection::vec(0..CASES.len(), 1..8),
        noise in "(data: |\\{|\\}|\"usage\"|:|null|,|\"choices\":\\[\\]|\r|\n|\r\n){0,40}",
    ) {
        let came: String = picks.iter().map(|pick| CASES[*pick].0).collect();
        for stream in [came, noise] {
            prop_assert_eq!(run(sliced(stream.as_bytes(), &cuts)), whole(&stream));
        }
    }

    #[test]
    fn a_stream_without_usage_is_untouched(noise in "(data: |\\{|\\}|:|null|,|\r|\n|\r\n|event: ){0,60}", cuts in cuts()) {
        prop_assert_eq!(run(sliced(noise.as_bytes(), &cuts)), noise);
    }
}

#[test]
fn an_event_like_the_one_before_is_judged_as_if_it_were_the_first() {
    const CHUNKS: [&str; 6] = [
        "data: {\"id\":\"@\",\"choices\":[{\"delta\":{\"content\":\"%\"}}],\"usage\":null,\"obfuscation\":\"@\"}\n\n",
        "data: {\"usage\": null, \"id\":\"@\",\"choices\":[{\"delta\":{\"content\":\"%\"}}]}\r\n\r\n",
        "data: {\"id\":\"@\",\"choices\":[{\"delta\":{\"content\":\"%\"}}],\"usage\":null}\n\n",
        "data: {\"id\":\"@\",\"content\":\"%\",\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":x\"content\":\"%\",\"usage\":null}\n\n",
        "event: a\ndata: {\"choices\":[{\"content\":\"%\"}],\ndata: \"usage\":null}\n\n",
    ];
    const WORDS: [&str; 9] = ["", " word", "a\\\"b", "\\", "\\\\", "\"", "{,", "é", "\\u0075sage\\\":null"];
    let mut dice = Dice(4);
    let (mut alike, mut cut) = (Judge::default(), 0);
    for _ in 0..40_000 {
        let mut event = dice.pick(&CHUNKS).to_owned();
        while let Some(hole) = event.find(['%', '@']) {
            event.replace_range(hole..=hole, dice.pick(&WORDS));
        }
        let first = Judge { reports_itself: alike.reports_itself, cut: None }.verdict(event.as_bytes());
        let fits = alike.cut.as_ref().is_some_and(|(stencil, _)| stencil.fit(event.as_bytes()).is_some());
        assert_eq!(alike.verdict(event.as_bytes()), first, "{event:?}");
        cut += usize::from(fits);
    }
    assert!(cut > 500, "{cut}");
}
