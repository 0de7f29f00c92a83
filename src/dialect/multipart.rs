//! Small text fields of a `multipart/form-data` body in memory: names and places, never files.

use std::ops::Range;

use memchr::memmem;

/// A text field of a form.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FormField {
    pub(super) name: String,
    /// Where its value stands in the body.
    pub(super) at: Range<usize>,
}

/// Parts looked at; forms of this dialect have about ten.
const MAX_PARTS: usize = 256;

/// The longest header block of a part, and the longest value taken for a text field.
const MAX_TEXT: usize = 16 * 1024;

/// The boundary of a `multipart/form-data` content type.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| !boundary.is_empty())
}

/// The text fields of `body` with one of the `wanted` names, in order.
pub(super) fn fields(body: &[u8], boundary: &str, wanted: &[&str]) -> Vec<FormField> {
    let delimiter = format!("--{boundary}");
    let starts: Vec<usize> = memmem::find_iter(body, delimiter.as_bytes())
        .filter(|&at| at == 0 || body[..at].ends_with(b"\n"))
        .take(MAX_PARTS)
        .collect();
    let mut fields = Vec::new();
    for (at, &start) in starts.iter().enumerate() {
        let end = starts.get(at + 1).copied().unwrap_or(body.len());
        let part = start + delimiter.len()..end;
        if let Some(field) = text_field(body, part).filter(|field| wanted.contains(&field.name.as_str())) {
            fields.push(field);
        }
    }
    fields
}

fn text_field(body: &[u8], part: Range<usize>) -> Option<FormField> {
    let text = &body[part.clone()];
    let head_end = memmem::find(&text[..text.len().min(MAX_TEXT)], b"\r\n\r\n")?;
    let head = std::str::from_utf8(&text[..head_end]).ok()?;
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    let (_, parameters) = disposition.split_once(';')?;
    if parameter(parameters, "filename").is_some() {
        return None;
    }
    let start = part.start + head_end + 4;
    let end = part.start + text.strip_suffix(b"\r\n").map_or(text.len(), <[u8]>::len);
    (start <= end && end - start <= MAX_TEXT)
        .then_some(FormField { name: parameter(parameters, "name")?, at: start..end })
}

/// A parameter of a header value, `name=value` or `name="value"`.
fn parameter(mut parameters: &str, wanted: &str) -> Option<String> {
    while let Some((name, rest)) = parameters.split_once('=') {
        let name = name.trim_matches([' ', ';', '\t']);
        let (value, rest) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => rest.split_once(';').unwrap_or((rest, "")),
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value.trim().to_owned());
        }
        parameters = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(boundary(content_type).as_deref(), boundary_text, "{content_type}");
        }
    }

    #[test]
    fn a_text_field_behind_a_file_is_found_and_the_file_is_not() {
        let body = b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"model\"\r\n\
            Content-Type: audio/wav\r\n\r\nRIFF--B\0\r\n\r\n--B\r\n\
            content-disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--B--\r\n";
        let found = fields(body, "B", &["model", "file"]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].name, "model");
        assert_eq!(&body[found[0].at.clone()], b"whisper-1");
    }

    #[test]
    fn broken_forms_have_no_fields() {
        for body in
            ["", "--B", "--B\r\n\r\n", "--B--", "--B\r\nContent-Disposition: form-data\r\n\r\nx\r\n--B--"]
        {
            assert_eq!(fields(body.as_bytes(), "B", &["model"]), Vec::new(), "{body:?}");
        }
    }
}
