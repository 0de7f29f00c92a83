//! Two answers to one request, side by side: where they differ and in what. Pure.

use std::collections::HashSet;

use http::HeaderMap;
use serde_json::Value;

use super::case::Case;
use super::shape::{Detail, Leaf, Step, Stream, is_creation_time, outline, spacing};
use super::way::Answer;

/// Which column of the table a difference belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Status,
    Headers,
    Body,
    Usage,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) part: Part,
    /// What it is about, by which it is found again between two answers of the upstream itself.
    pub(super) about: String,
    /// For people.
    pub(super) text: String,
}

impl Difference {
    pub(super) fn new(part: Part, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { part, about: about.into(), text: text.into() }
    }
}

/// How `other` differs from what the upstream answered `directly`.
pub(super) fn compare(case: Case, directly: &Answer, other: &Answer) -> Vec<Difference> {
    let mut found = Vec::new();
    if directly.status != other.status {
        let text = format!("{} became {}{}", directly.status, other.status, whose(other));
        found.push(Difference::new(Part::Status, "status", text));
        // nothing else of an other answer can be the same
        return found;
    }
    let is_exact = case.is_exact(directly.status);
    super::headers::compare(directly, other, is_exact, &mut found);
    if directly.is_whole != other.is_whole {
        let text = if other.is_whole { "an answer that broke off ends as if whole" } else { "it broke off" };
        found.push(Difference::new(Part::Body, "end", text));
    }
    compare_bodies(is_exact, directly, other, &mut found);
    if found.iter().any(|difference| difference.part == Part::Body) {
        // another body has another length
        found.retain(|difference| difference.about != "content-length");
    }
    found
}

/// Leaves out what the upstream's own answers differ in, too.
pub(super) fn without(mut found: Vec<Difference>, own: &[Difference]) -> Vec<Difference> {
    let own: HashSet<(Part, &str)> = own.iter().map(|known| (known.part, known.about.as_str())).collect();
    found.retain(|difference| !own.contains(&(difference.part, difference.about.as_str())));
    found
}

fn whose(answer: &Answer) -> String {
    if answer.header("x-tollgate-error-source") == "gateway" {
        let said: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let code = said["error"]["code"].as_str().or_else(|| said["error"]["type"].as_str());
        return format!(": the gateway answered by itself, {}", code.unwrap_or("without a code"));
    }
    String::new()
}

fn compare_bodies(is_exact: bool, directly: &Answer, other: &Answer, found: &mut Vec<Difference>) {
    let (one, two) = (masked(directly), masked(other));
    if one == two {
        return;
    }
    if directly.is_stream() {
        compare_streams(&Stream::read(&one), &Stream::read(&two), [directly, other], found);
        return;
    }
    let detail = if is_exact { Detail::Values } else { Detail::Shape };
    let before = found.len();
    match (serde_json::from_str::<Value>(&one), serde_json::from_str::<Value>(&two)) {
        (Ok(left), Ok(right)) => {
            let times = [directly.asked_at, other.asked_at];
            let lists = [outline(&left, detail), outline(&right, detail)];
            compare_leaves("", [&lists[0], &lists[1]], times, found);
            compare_spacing(&spacing(&one), &spacing(&two), found);
            if is_exact && found.len() == before {
                bytes_differ(&one, &two, found);
            }
        }
        (Ok(_), Err(fault)) => {
            found.push(Difference::new(Part::Body, "json", format!("it is no JSON any more: {fault}")));
        }
        (Err(_), _) => bytes_differ(&one, &two, found),
    }
}

fn compare_spacing(one: &str, two: &str, found: &mut Vec<Difference>) {
    if one != two {
        let text = format!("the JSON was written anew: {one} became {two}");
        found.push(Difference::new(Part::Body, "spacing", text));
    }
}

fn bytes_differ(one: &str, two: &str, found: &mut Vec<Difference>) {
    let same = one.bytes().zip(two.bytes()).take_while(|(left, right)| left == right).count();
    let from = same.saturating_sub(20);
    let text = format!("from byte {same} on: `{}` became `{}`", excerpt(one, from), excerpt(two, from));
    found.push(Difference::new(Part::Body, "bytes", text));
}

fn excerpt(text: &str, from: usize) -> String {
    String::from_utf8_lossy(text.as_bytes().get(from..).unwrap_or_default()).chars().take(60).collect()
}

fn compare_streams(one: &Stream, two: &Stream, answers: [&Answer; 2], found: &mut Vec<Difference>) {
    // how many there are is a matter of time
    if one.comments > 0 && two.comments == 0 {
        let text = format!("its comments are gone ({} directly)", one.comments);
        found.push(Difference::new(Part::Body, "comments", text));
    }
    if one.has_crlf != two.has_crlf {
        found.push(Difference::new(Part::Body, "line ends", "its lines end otherwise"));
    }
    compare_spacing(&one.spacing, &two.spacing, found);
    let times = [answers[0].asked_at, answers[1].asked_at];
    for (place, (left, right)) in one.steps.iter().zip(&two.steps).enumerate() {
        let before = found.len();
        compare_steps(place, [left, right], times, found);
        if found.len() > before {
            // what follows may only be out of step
            break;
        }
    }
    let (longer, shorter) = (one.steps.len().max(two.steps.len()), one.steps.len().min(two.steps.len()));
    if longer == shorter {
        return;
    }
    let (steps, word) =
        if one.steps.len() > two.steps.len() { (&one.steps, "missing") } else { (&two.steps, "extra") };
    for step in &steps[shorter..] {
        let what = if is_end(&step.name) { "the end marker" } else { "the event" };
        let text = format!("{what} `{}` is {word}", step.name);
        found.push(Difference::new(Part::Body, format!("event {}", step.name), text));
    }
}

fn is_end(name: &str) -> bool {
    ["[DONE]", "message_stop", "response.completed"].contains(&name)
}

fn compare_steps(place: usize, steps: [&Step; 2], times: [i64; 2], found: &mut Vec<Difference>) {
    let [left, right] = steps;
    let place = place + 1;
    if left.name != right.name {
        let text = format!("part {place} of the stream is `{}`, directly `{}`", right.name, left.name);
        found.push(Difference::new(Part::Body, format!("event {}", left.name), text));
        return;
    }
    if left.is_finished != right.is_finished {
        let text = format!("`{}` lacks the blank line that ends an event", left.name);
        found.push(Difference::new(Part::Body, "blank line", text));
    }
    let within = format!("in part {place} of the stream, `{}`: ", left.name);
    compare_leaves(&within, [&left.leaves, &right.leaves], times, found);
}

/// Members that are gone, new, of another type or value, or in another order.
fn compare_leaves(within: &str, lists: [&[Leaf]; 2], times: [i64; 2], found: &mut Vec<Difference>) {
    let [one, two] = lists;
    let before = found.len();
    let known = |list: &[Leaf]| list.iter().map(|leaf| leaf.path.clone()).collect::<HashSet<_>>();
    let (known_one, known_two) = (known(one), known(two));
    let mut note = |path: &str, text: String| {
        found.push(Difference::new(Part::Body, path, format!("{within}{text}")));
    };
    for leaf in one.iter().filter(|leaf| !known_two.contains(&leaf.path)) {
        note(&leaf.path, format!("`{}` is gone ({})", leaf.path, leaf.kind));
    }
    for leaf in two.iter().filter(|leaf| !known_one.contains(&leaf.path)) {
        let why = if leaf.path == "usage" { ", for which nobody asked" } else { "" };
        note(&leaf.path, format!("`{}` is new ({}){why}", leaf.path, leaf.kind));
    }
    let shared = |list: &[Leaf], other: &HashSet<String>| {
        list.iter().filter(|leaf| other.contains(&leaf.path)).cloned().collect::<Vec<_>>()
    };
    let (left, right) = (shared(one, &known_two), shared(two, &known_one));
    for (left, right) in left.iter().zip(&right) {
        if left.path != right.path {
            note("order", format!("`{}` stands where `{}` stood", right.path, left.path));
            break;
        }
        if left.kind != right.kind {
            note(&left.path, format!("`{}` is {}, directly {}", left.path, right.kind, left.kind));
        } else if left.value != right.value && !is_as_recent(left, right, times) {
            let shown = |leaf: &Leaf| leaf.value.clone().unwrap_or_default();
            note(&left.path, format!("`{}` is {}, directly {}", left.path, shown(right), shown(left)));
        }
    }
    if left.len() != right.len() && found.len() == before {
        let text = format!("{within}{} places became {}", left.len(), right.len());
        found.push(Difference::new(Part::Body, "places", text));
    }
}

/// Whether both were made as long before or after they were asked for.
fn is_as_recent(left: &Leaf, right: &Leaf, times: [i64; 2]) -> bool {
    let seconds = |leaf: &Leaf| {
        let text = leaf.value.as_deref()?;
        text.split('.').next()?.parse::<i64>().ok()
    };
    let (Some(one), Some(two)) = (seconds(left), seconds(right)) else { return false };
    let age = |created: i64, asked: i64| asked.saturating_sub(created);
    is_creation_time(&left.path) && age(one, times[0]).abs_diff(age(two, times[1])) <= SLOW_ANSWER
}

/// Seconds between two requests' arrivals at models that are busy.
const SLOW_ANSWER: u64 = 30;

/// The body with the values of the answer's own ids left out.
fn masked(answer: &Answer) -> String {
    let ids = ids(&answer.headers);
    ids.fold(answer.body.clone(), |text, (name, id)| text.replace(&id, &format!("({name})")))
}

fn ids(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> + '_ {
    let told = headers.iter().filter(|(name, _)| name.as_str().ends_with("request-id"));
    let told = told.map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()));
    // a short word may stand anywhere
    told.filter(|(_, id)| id.len() >= 8)
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
