use proptest::prelude::{prop_assert_eq, proptest};

use super::super::slices::{cuts, sliced};
use super::{Event, MAX_EVENT, Reader, TAIL};

type Owned = (String, Vec<u8>, bool);

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
    let mut events = Vec::new();
    let mut keep = |event: Event<'_>| {
        let name = String::from_utf8_lossy(event.name).into_owned();
        events.push((name, event.data.to_vec(), event.clipped));
    };
    let mut reader = Reader::new();
    for piece in pieces {
        reader.push(piece, &mut keep);
    }
    reader.finish(&mut keep);
    events
}

fn plain(events: &[Owned]) -> Vec<(&str, &str)> {
    events.iter().map(|(name, data, _)| (name.as_str(), std::str::from_utf8(data).unwrap())).collect()
}

const STREAM: &str = "\u{feff}: hello\n\ndata: one\n\ndata:two\r\n\r\nevent: named\rdata: a\rdata: b\r\r\
    id: 7\nretry: 10\n\n:\n\ndata\n\nevent:x\ndata:  spaced\ndata:\n\n: between\ndata: late\r\n: inside\r\n\r\n\
    data: last \u{e9}\u{1f600}\n";

#[test]
fn wire_04_every_line_end_comment_and_field_is_understood() {
    let events = read([STREAM.as_bytes()]);
    assert_eq!(
        plain(&events),
        [
            ("", "one"),
            ("", "two"),
            ("named", "a\nb"),
            ("", ""),
            ("x", " spaced\n"),
            ("", "late"),
            ("", "last \u{e9}\u{1f600}"),
        ]
    );
}

#[test]
fn wire_04_every_single_cut_gives_the_same_events() {
    let whole = read([STREAM.as_bytes()]);
    for at in 0..=STREAM.len() {
        let (left, right) = STREAM.as_bytes().split_at(at);
        assert_eq!(read([left, right]), whole, "cut at {at}");
    }
    assert_eq!(read(STREAM.as_bytes().chunks(1)), whole);
}

#[test]
fn s_04_an_overlong_event_leaves_its_tail_and_reading_goes_on() {
    let long = "x".repeat(MAX_EVENT);
    let stream = format!("event: big\ndata: {long}THE END\n\ndata: next\n\n");
    let events = read([stream.as_bytes()]);
    assert_eq!((events[0].0.as_str(), events[0].1.len(), events[0].2), ("big", TAIL, true));
    assert!(events[0].1.ends_with(b"xTHE END"));
    assert_eq!(events[1], (String::new(), b"next".to_vec(), false));
    for size in [1000, 65_537, MAX_EVENT - 1] {
        assert_eq!(read(stream.as_bytes().chunks(size)), events);
    }
}

#[test]
fn many_lines_of_one_event_are_bounded_too() {
    let line = format!("data: {}\n", "y".repeat(1000));
    let stream = format!("{}data: end\n\ndata: next\n\n", line.repeat(2 * MAX_EVENT / 1000));
    let events = read(stream.as_bytes().chunks(4096));
    assert_eq!((events[0].1.len(), events[0].2), (TAIL, true));
    assert!(events[0].1.ends_with(b"y\nend"));
    assert_eq!(events[1].1, b"next");
    assert_eq!(read([stream.as_bytes()]), events);
}

#[test]
fn s_04_an_endless_comment_is_forgotten() {
    let stream = format!(": {}\ndata: here\n\n", "z".repeat(2 * MAX_EVENT));
    assert_eq!(plain(&read(stream.as_bytes().chunks(10_000))), [("", "here")]);
}

proptest! {
    #[test]
    fn slicing_never_changes_the_events(cuts in cuts(), noise in "(data|event|:|\u{feff}|\r|\n|\r\n| |a|\\{|:\n){0,60}") {
        for stream in [STREAM, &noise] {
            prop_assert_eq!(read(sliced(stream.as_bytes(), &cuts)), read([stream.as_bytes()]));
        }
    }
}
