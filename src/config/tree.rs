//! YAML as a tree of texts in which every value knows its line. No types yet: `no` and `1e3` are texts here.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::report::{KeyPath, Report, Spot, Step};

/// A value of the file and where it begins. A map or list under a key begins at its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node<'t> {
    pub(super) spot: Spot,
    pub(super) value: Value<'t>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'t> {
    /// Text; `plain` when it was written without quotes.
    Scalar { text: Cow<'t, str>, plain: bool },
    /// Items in order.
    List(Vec<Node<'t>>),
    /// Entries in order; no key twice.
    Map(Vec<Entry<'t>>),
    /// Something that was reported as a fault already.
    Broken,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry<'t> {
    pub(super) key: Cow<'t, str>,
    pub(super) key_spot: Spot,
    pub(super) node: Node<'t>,
}

impl Node<'_> {
    /// Whether the file says something at `path`.
    pub(super) fn has(&self, path: &KeyPath<'_>) -> bool {
        path.0.iter().try_fold(self, |node, step| node.child(step)).is_some()
    }

    /// Where the value at `path` begins; where its nearest parent does, when it is not written.
    pub(super) fn spot_of(&self, path: &KeyPath<'_>) -> Spot {
        let (mut node, mut steps) = (self, path.0.iter());
        while let Some(next) = steps.next().and_then(|step| node.child(step)) {
            node = next;
        }
        node.spot
    }

    /// The text at `path` as written, references and all.
    pub(super) fn text_at(&self, path: &KeyPath<'_>) -> Option<&str> {
        match &path.0.iter().try_fold(self, |node, step| node.child(step))?.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) | Value::Broken => None,
        }
    }

    fn child(&self, step: &Step<'_>) -> Option<&Self> {
        match (step, &self.value) {
            (Step::Key(key), Value::Map(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| &entry.node)
            }
            (Step::Item(index), Value::List(items)) => items.get(*index),
            _ => None,
        }
    }
}

/// Reads one YAML document. `None` when its grammar is broken, which is reported.
pub(super) fn parse<'t>(text: &'t str, report: &mut Report) -> Option<Node<'t>> {
    let events = Parser::new_from_str(text);
    let mut reader = Reader { events, report, path: KeyPath::default(), nodes: 0 };
    reader.document().ok()
}

/// Reading cannot go on; the reason is in the report.
struct Stop;

struct Reader<'t, 'r> {
    events: Parser<'t, StrInput<'t>>,
    report: &'r mut Report,
    path: KeyPath<'t>,
    nodes: usize,
}

impl<'t> Reader<'t, '_> {
    fn document(&mut self) -> Result<Node<'t>, Stop> {
        loop {
            let (event, spot) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => return Err(self.stop(spot, "the file is empty", NEEDS_UPSTREAMS)),
                event => {
                    let root = self.node(event, spot)?;
                    self.end()?;
                    return Ok(root);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), Stop> {
        loop {
            let (event, spot) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentEnd | Event::Nothing => {}
                _ => {
                    let hint = "keep one config per file; remove what follows `---`";
                    return Err(self.stop(spot, "a second document begins here", hint));
                }
            }
        }
    }

    fn node(&mut self, event: Event<'t>, spot: Spot) -> Result<Node<'t>, Stop> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            return Err(self.stop(spot, format!("the file has more than {MOST_NODES} values"), ""));
        }
        if self.path.0.len() > DEEPEST {
            return Err(self.stop(spot, format!("nested more than {DEEPEST} levels deep"), ""));
        }
        let value = match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), spot);
                Value::Scalar { text, plain: style == ScalarStyle::Plain }
            }
            Event::SequenceStart(_, tag) => {
                self.refuse_tag(tag.is_some(), spot);
                self.list()?
            }
            Event::MappingStart(_, tag) => {
                self.refuse_tag(tag.is_some(), spot);
                self.map()?
            }
            Event::Alias(_) => {
                self.report.error(spot, &self.path, "aliases (`*name`) are not supported", WRITE_IT_OUT);
                Value::Broken
            }
            _ => return Err(self.stop(spot, "a value was expected here", "")),
        };
        Ok(Node { spot, value })
    }

    fn list(&mut self) -> Result<Value<'t>, Stop> {
        let mut items = Vec::new();
        loop {
            let (event, spot) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::List(items));
            }
            self.path.0.push(Step::Item(items.len()));
            items.push(self.node(event, spot)?);
            self.path.0.pop();
        }
    }

    fn map(&mut self) -> Result<Value<'t>, Stop> {
        let mut entries: Vec<Entry<'t>> = Vec::new();
        // lines of the keys after the first few, among which looking is quicker
        let mut later: HashMap<Cow<'t, str>, usize> = HashMap::new();
        loop {
            let (event, key_spot) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let Event::Scalar(key, ..) = event else {
                return Err(self.stop(key_spot, "a key must be a word", ""));
            };
            self.path.0.push(Step::Key(key.clone()));
            let (event, value_spot) = self.next()?;
            let is_scalar = matches!(event, Event::Scalar(..));
            let node = self.node(event, if is_scalar { value_spot } else { key_spot })?;
            let few = entries.iter().take(FEW).find(|entry| entry.key == key);
            match few.map(|entry| entry.key_spot.line).or_else(|| later.get(&key).copied()) {
                Some(line) => {
                    let message = format!("this key is given twice, first on line {line}");
                    self.report.error(key_spot, &self.path.showable(), message, "keep one of the two");
                }
                None => {
                    if entries.len() >= FEW {
                        later.insert(key.clone(), key_spot.line);
                    }
                    entries.push(Entry { key, key_spot, node });
                }
            }
            self.path.0.pop();
        }
    }

    fn refuse_tag(&mut self, tagged: bool, spot: Spot) {
        if tagged {
            self.report.error(spot, &self.path, "tags (`!name`) are not supported", "remove it");
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Spot), Stop> {
        match self.events.next_event() {
            Some(Ok((event, span))) => Ok((event, spot(span))),
            Some(Err(fault)) => {
                let at = fault.marker();
                let spot = Spot { line: at.line().max(1), column: at.col() + 1 };
                Err(self.stop(spot, format!("not valid YAML: {}", fault.info()), ""))
            }
            None => Err(self.stop(Spot::START, "the file ends too early", "")),
        }
    }

    fn stop(&mut self, spot: Spot, message: impl Into<String>, hint: &str) -> Stop {
        self.report.error(spot, &KeyPath::default(), message, hint);
        Stop
    }
}

fn spot(span: Span) -> Spot {
    Spot { line: span.start.line().max(1), column: span.start.col() + 1 }
}

/// A config is six levels deep; sixteen leave room to grow, and recursion stays shallow.
const DEEPEST: usize = 16;
/// Four times ten thousand teams of ten keys with budgets and limits; some hundred bytes each.
const MOST_NODES: usize = 4_000_000;
/// The sections of a config have few keys; what is named has many.
const FEW: usize = 16;

const NEEDS_UPSTREAMS: &str = "the smallest config names an upstream: see config/tollgate.yaml";
const WRITE_IT_OUT: &str = "write the value out where it is needed";
