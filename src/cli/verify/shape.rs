//! What an answer looks like when its words are left out: paths and types of its JSON in their order, the
//! events of a stream in theirs, with runs of the same kind of event as one.

use serde_json::Value;

/// One place in a JSON document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// `choices[].delta.content`
    pub(super) path: String,
    pub(super) kind: &'static str,
    /// What stands there, where it should be the same in every answer.
    pub(super) value: Option<String>,
}

/// How much of a document counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Everything.
    Values,
    /// Paths, types, and the values that no two answers to one question differ in.
    Shape,
}

/// The places of `value`, in order; of a huge one those that come first.
pub(super) fn outline(value: &Value, detail: Detail) -> Vec<Leaf> {
    outline_within(&mut { MOST_PLACES }, value, detail)
}

fn outline_within(room: &mut usize, value: &Value, detail: Detail) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    walk(value, "", detail, (&mut leaves, room));
    leaves
}

/// Bytes of memory that the places of one answer take, about.
const MOST_PLACES: usize = 64 << 20;

fn walk(value: &Value, path: &str, detail: Detail, (leaves, room): (&mut Vec<Leaf>, &mut usize)) {
    let size = size_of::<Leaf>() + path.len();
    if *room < size {
        *room = 0;
        return;
    }
    *room -= size;
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let name = path.rsplit('.').next().unwrap_or_default();
    let counts = detail == Detail::Values || FIXED.contains(&name) || name == CREATED || name == CREATED_AT;
    let is_scalar = !matches!(value, Value::Array(_) | Value::Object(_));
    let shown = (counts && is_scalar).then(|| value.to_string());
    leaves.push(Leaf { path: path.into(), kind, value: shown });
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if *room == 0 {
                    break;
                }
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                walk(member, &below, detail, (leaves, room));
            }
        }
        Value::Array(items) if detail == Detail::Values => {
            for (place, item) in items.iter().enumerate() {
                walk(item, &format!("{path}[{place}]"), detail, (leaves, room));
            }
        }
        Value::Array(items) => {
            let mut last = Vec::new();
            for item in items {
                let mut this = Vec::new();
                walk(item, &format!("{path}[]"), detail, (&mut this, room));
                if this != last {
                    leaves.extend(this.iter().cloned());
                    last = this;
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Whether a leaf holds when the answer was made, which is told in seconds.
pub(super) fn is_creation_time(path: &str) -> bool {
    [CREATED, CREATED_AT].contains(&path.rsplit('.').next().unwrap_or_default())
}

const CREATED: &str = "created";
const CREATED_AT: &str = "created_at";

/// Members whose value answers the request, not the question: two answers have the same.
const FIXED: &[&str] = &[
    "object",
    "type",
    "model",
    "role",
    "status",
    "finish_reason",
    "stop_reason",
    "service_tier",
    "index",
    "name",
    "code",
    "param",
    "prompt_tokens",
    "input_tokens",
];

/// How the white space between the tokens of a JSON text looks: tells a text that was written anew.
pub(super) fn spacing(json: &str) -> String {
    let (mut in_string, mut escaped, mut before) = (false, false, ' ');
    let mut kinds = [false; 4];
    for letter in json.trim().chars() {
        if in_string {
            in_string = escaped || letter != '"';
            escaped = !escaped && letter == '\\';
        } else if letter == '"' {
            in_string = true;
        } else if letter.is_ascii_whitespace() {
            let kind = match (before, letter) {
                (_, '\n' | '\r') => 0,
                (':', _) => 1,
                (',', _) => 2,
                _ => 3,
            };
            kinds[kind] = true;
            continue;
        }
        before = letter;
    }
    let words = ["line breaks", "a space after colons", "a space after commas", "other spaces"];
    let seen: Vec<&str> =
        words.into_iter().zip(kinds).filter_map(|(word, seen)| seen.then_some(word)).collect();
    if seen.is_empty() { "no white space".into() } else { seen.join(", ") }
}

/// A run of events of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// The name of its events, or what else tells them: `[DONE]`, `chat.completion.chunk`.
    pub(super) name: String,
    pub(super) leaves: Vec<Leaf>,
    /// Whether the stream went on after it: an event without its blank line is none.
    pub(super) is_finished: bool,
}

/// What a stream of events is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Stream {
    pub(super) steps: Vec<Step>,
    pub(super) comments: u64,
    pub(super) has_crlf: bool,
    /// Of the JSON in the first event.
    pub(super) spacing: String,
}

impl Stream {
    /// Reads a whole stream.
    pub(super) fn read(text: &str) -> Self {
        let mut stream = Self { has_crlf: text.contains("\r\n"), ..Self::default() };
        let mut room = MOST_PLACES;
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let (blocks, rest) = text.rsplit_once("\n\n").unwrap_or(("", &text));
        for block in blocks.split("\n\n") {
            stream.block(block, true, &mut room);
        }
        stream.block(rest, false, &mut room);
        stream
    }

    fn block(&mut self, block: &str, is_finished: bool, room: &mut usize) {
        let (mut name, mut data) = ("", Vec::new());
        for line in block.lines().filter(|line| !line.is_empty()) {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "" => self.comments += 1,
                "event" => name = value,
                "data" => data.push(value),
                _ => {}
            }
        }
        if name.is_empty() && data.is_empty() {
            return;
        }
        let data = data.join("\n");
        let parsed = serde_json::from_str::<Value>(&data);
        let outline = |value| outline_within(room, value, Detail::Shape);
        let leaves = parsed.as_ref().map(outline).unwrap_or_default();
        if self.spacing.is_empty() && !leaves.is_empty() {
            self.spacing = spacing(&data);
        }
        let object = parsed.as_ref().ok().and_then(|value| value["object"].as_str());
        let told = if name.is_empty() { object.unwrap_or(&data) } else { name };
        let told = told.chars().take(LONGEST_NAME).collect();
        let step = Step { name: told, leaves, is_finished };
        if self.steps.last() != Some(&step) {
            self.steps.push(step);
        }
    }
}

/// An event that is neither named nor JSON is told by its beginning.
const LONGEST_NAME: usize = 60;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn paths(value: &Value) -> Vec<String> {
        outline(value, Detail::Shape)
            .into_iter()
            .map(|leaf| format!("{}:{}{}", leaf.path, leaf.kind, leaf.value.unwrap_or_default()))
            .collect()
    }

    #[test]
    fn an_outline_has_paths_in_order_and_fixed_values() {
        let value = json!({"model": "m", "id": "x", "data": [{"v": 1}, {"v": 2}, {"w": null}]});
        let expected = [
            ":object",
            "model:string\"m\"",
            "id:string",
            "data:array",
            "data[]:object",
            "data[].v:number",
            "data[]:object",
            "data[].w:null",
        ];
        assert_eq!(paths(&value), expected);
    }

    #[test]
    fn an_outline_takes_no_more_memory_than_its_bound() {
        let members: serde_json::Map<_, _> = (0..1_000).map(|n| (format!("m{n}"), json!(n))).collect();
        let mut within = serde_json::Map::new();
        within.insert("k".repeat(1 << 20), Value::Object(members));
        let leaves = outline(&Value::Object(within), Detail::Values);
        let memory: usize = leaves.iter().map(|leaf| size_of::<Leaf>() + leaf.path.len()).sum();
        assert!(leaves.len() > 10 && memory <= MOST_PLACES, "{} {memory}", leaves.len());
    }

    #[test]
    fn runs_of_the_same_kind_of_event_are_one() {
        let text = ": hi\n\nevent: a\ndata: {\"x\":1}\n\nevent: a\ndata: {\"x\":2}\n\ndata: [DONE]\n\n";
        let stream = Stream::read(text);
        let names: Vec<_> = stream.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!((names, stream.comments), (vec!["a", "[DONE]"], 1));
        assert!(stream.steps.iter().all(|step| step.is_finished));
    }

    #[test]
    fn an_event_without_its_blank_line_is_told_apart() {
        let stream = Stream::read("data: 1\n\ndata: [DONE]\n");
        assert!(stream.steps[0].is_finished && !stream.steps[1].is_finished);
    }

    #[test]
    fn json_that_was_written_anew_is_told_by_its_spaces() {
        assert_eq!(spacing(r#"{"a":[1,2],"b: c":"\", "}"#), "no white space");
        assert_eq!(spacing(r#"{"a": [1, 2]}"#), "a space after colons, a space after commas");
        assert_eq!(spacing("{\n  \"a\": 1\n}"), "line breaks, a space after colons, other spaces");
    }
}
