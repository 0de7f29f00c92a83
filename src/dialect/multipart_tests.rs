use proptest::prelude::*;

use super::*;

const WANTED: &[&str] = &["model", "n"];

fn read_in(body: &[u8], pieces: impl Iterator<Item = usize>) -> Found {
    let mut reader = FormReader::new("B", WANTED);
    let mut rest = body;
    for piece in pieces {
        let (now, later) = rest.split_at(piece.min(rest.len()));
        reader.push(now);
        rest = later;
        assert!(reader.held.len() <= STEP + MAX_TEXT + 2 * MAX_BOUNDARY, "held {}", reader.held.len());
    }
    reader.push(rest);
    reader.found().clone()
}

fn read(body: &[u8]) -> Found {
    let whole = read_in(body, std::iter::empty());
    assert_eq!(read_in(body, std::iter::repeat_n(1, body.len())), whole, "byte by byte");
    whole
}

fn texts(body: &[u8]) -> Vec<(String, String)> {
    let found = read(body);
    for field in &found.fields {
        let at = usize::try_from(field.at.start).unwrap()..usize::try_from(field.at.end).unwrap();
        assert_eq!(&body[at], field.value.as_bytes(), "{}", field.name);
    }
    found.fields.into_iter().map(|field| (field.name, field.value)).collect()
}

fn text(name: &str, value: &str) -> String {
    format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

#[test]
fn the_boundary_is_found_in_every_spelling() {
    for (content_type, boundary_text) in [
        ("multipart/form-data; boundary=abc", Some("abc")),
        ("Multipart/Form-Data;boundary=\"a b;c\"", Some("a b;c")),
        ("multipart/form-data; charset=utf-8; Boundary=x; y=z", Some("x")),
        ("multipart/form-data", None),
        ("multipart/form-data; boundary=", None),
        ("application/json; boundary=abc", None),
    ] {
        let reader = FormReader::of(content_type, WANTED);
        let delimiter = reader.as_ref().map(|reader| String::from_utf8_lossy(&reader.delimiter[3..]));
        assert_eq!(delimiter.as_deref(), boundary_text, "{content_type}");
        assert_eq!(reader.and_then(|reader| reader.found.fault), None, "{content_type}");
    }
    for content_type in [
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=a; boundary*=utf-8''b",
        "multipart/form-data; boundary=a, multipart/form-data; boundary=b",
        "multipart/form-data; boundary=a, text/plain",
        "multipart/form-data; x=\"\\\"; boundary=a; y=\\\"\"; boundary=b",
    ] {
        let reader = FormReader::of(content_type, WANTED).unwrap();
        assert!(reader.found.fault.is_some(), "{content_type}");
    }
}

#[test]
fn a_text_field_behind_a_file_is_found_and_the_file_is_not() {
    let body = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\
        Content-Type: audio/wav\r\n\r\nRIFF--B\0\r\n--Bx\r\n\r\n--B\r\n\
        content-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B--\r\n";
    assert_eq!(texts(body), [pair("model", "whisper-1")]);
    assert_eq!(read(body).files, 1);
}

#[test]
fn every_way_to_end_a_line_is_read() {
    for (body, fields) in [
        ("--B\nContent-Disposition: form-data; name=model\n\nm\n--B--", vec![pair("model", "m")]),
        ("--B  \t\r\ncontent-disposition:form-data;name=n\r\n\r\n\r\n--B--", vec![pair("n", "")]),
        (
            "--B\r\ncontent-disposition:form-data;name=n\r\n\r\na\r\nb\r\n\r\n--B--",
            vec![pair("n", "a\r\nb\r\n")],
        ),
        (
            "preamble\r\n--B\r\ncontent-disposition:form-data;name=n\r\n\r\n1\r\n--B--\r\n--B\r\n",
            vec![pair("n", "1")],
        ),
        (
            "--B\r\n\r\nnobody's\r\n--B\r\ncontent-disposition:form-data;name=n\r\n\r\n1\r\n--B--",
            vec![pair("n", "1")],
        ),
    ] {
        assert_eq!(texts(body.as_bytes()), fields, "{body:?}");
    }
}

#[test]
fn broken_forms_have_no_fields() {
    for body in [
        "",
        "--B",
        "--B\r\n\r\n",
        "--B--",
        "--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--",
        "--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1",
        "--Bx\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--Bx--",
        "x--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B--",
    ] {
        assert_eq!(read(body.as_bytes()), Found::default(), "{body:?}");
    }
}

#[test]
fn what_upstreams_may_read_otherwise_is_a_fault() {
    let long = text("model", &"x".repeat(2 * MAX_TEXT));
    let padded = format!("--B\r\nx-pad: {}\r\n{}", "x".repeat(MAX_TEXT), &text("model", "m")[5..]);
    let starred = "--B\r\ncontent-disposition: form-data; name*=utf-8''model\r\n\r\nm\r\n--B--";
    for body in [long, padded, text("a", "b").repeat(MAX_PARTS + 1), starred.into()] {
        assert!(read(body.as_bytes()).fault.is_some(), "{}", &body[..100]);
    }
    assert_eq!(read(text("file", &"x".repeat(9 * MAX_TEXT)).as_bytes()).fault, None);
    assert_eq!(read(text("a", "b").repeat(MAX_PARTS).as_bytes()).fault, None);
}

fn of_head(head: &str) -> Found {
    read(format!("--B\r\n{head}\r\n\r\ndear\r\n{}--B--\r\n", text("model", "cheap")).as_bytes())
}

#[test]
fn a_second_model_cannot_be_shown_to_the_upstream_alone() {
    for head in [
        "Content-Disposition: form-data;\r\n name=\"model\"",
        "X-A: b\r\n Content-Disposition: form-data; name=\"model\"",
        "X-A: b\rContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"\r\nContent-Disposition: form-data; name=\"model\"",
        "--B\r\nContent-Disposition: form-data; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"; name=\"model\"",
        "Content-Disposition: form-data; name=\"x\"y; name=\"model\"",
        "Content-Disposition: form-data; x=\"\\\"; name=\\\"y\"; name=model",
        "Content-Disposition: form-data; x=\"\\\"; filename=\\\"y\"; name=model",
        "Content-Disposition: form-data; name*0=\"mod\"; name*1=\"el\"",
        "Content-Disposition: form-data; name=\"model\"; filename=\"\"",
        "Content-Disposition: form-data; name=\"model\"\r\nContent-Transfer-Encoding: quoted-printable",
    ] {
        assert!(of_head(head).fault.is_some(), "{head:?}");
    }
    let behind_a_word = of_head("Content-Disposition: form-data; x; name=\"model\"");
    assert_eq!(behind_a_word.fields.len(), 2, "the caller of the reader compares them");
}

#[test]
fn what_clients_write_is_no_fault() {
    for head in [
        "Content-Disposition: form-data; name=\"f\"; filename=\"a \\\"b\\\".wav\"\r\nContent-Type: audio/wav",
        "Content-Disposition: form-data; name=\"f\"; filename=\"C:\\dir\\a.wav\"; filename*=utf-8''a.wav",
        "Content-Disposition: form-data; name=\"x\"\r\nContent-Transfer-Encoding: 8bit\r\nContent-Length: 4",
        "Content-Type: text/plain",
    ] {
        assert_eq!(of_head(head).fault, None, "{head:?}");
        assert_eq!(of_head(head).fields.len(), 1, "{head:?}");
    }
}

#[test]
fn a_form_ends_once_and_its_parts_end_where_all_see_it() {
    let (cheap, dear) = (text("model", "cheap"), text("model", "dear"));
    for body in [
        format!("{cheap}--B--x\r\n{dear}--B--\r\n"),
        format!("{cheap}--B--\r\n{dear}--B--\r\n"),
        format!("{cheap}--B\r\n\r\nx\r{}--B--\r\n", dear.replace("\r\n", "\r")),
        format!("{cheap}--B\rx\r\n--B--\r\n"),
        format!("{}\r--B--\r\n", cheap.trim_end()),
    ] {
        assert!(read(body.as_bytes()).fault.is_some(), "{body:?}");
    }
    for body in [
        format!("{cheap}--B--\r\n--Bx"),
        format!("{cheap}--B--"),
        format!("{cheap}--B--\r\n\r\nbye -- B --\r\n"),
        format!("{cheap}x--B\r\n--B--"),
    ] {
        assert_eq!(read(body.as_bytes()).fault, None, "{body:?}");
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let noise = proptest::collection::vec(
        prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'-'), Just(b'B'), Just(b' '), any::<u8>()],
        0..60,
    );
    let form = (prop_oneof![Just("model"), Just("n"), Just("x")], "[a-z\\-\r\nB]{0,12}")
        .prop_map(|(name, value)| text(name, &value).into_bytes());
    let file = proptest::collection::vec(any::<u8>(), 0..40_000).prop_map(|bytes| {
        let head = &b"--B\r\ncontent-disposition: form-data; name=\"f\"; filename=\"f\"\r\n\r\n"[..];
        [head, &bytes, b"\r\n"].concat()
    });
    prop_oneof![4 => form, 2 => noise, 1 => file]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_slicing_says_the_same(
        parts in proptest::collection::vec(part(), 0..8),
        pieces in proptest::collection::vec(0..5_000_usize, 0..60),
    ) {
        let body = [&parts.concat()[..], b"--B--\r\n"].concat();
        let whole = read_in(&body, std::iter::empty());
        prop_assert_eq!(read_in(&body, pieces.into_iter()), whole);
    }
}
