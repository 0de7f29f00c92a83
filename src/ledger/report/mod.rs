//! Who spent what: records summed up by the dimensions that were asked for.

mod figures;
mod instant;
mod quantile;
mod query;
mod reprice;

use std::collections::HashMap;

use serde_json::{Map, Value};

pub use figures::{FIGURE_NAMES, Figures};
pub use instant::instant;
pub use query::{Dimension, NotADimension, Query};
pub use reprice::{Repriced, Repricing};

use crate::store::ledger::{LedgerReader, StoreFault};
use crate::store::record::Record;

use query::Grouping;

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The dimensions, in the order asked for.
    pub by: Vec<Dimension>,
    /// One row per combination of values that occurred. By day: in the order of their values; else the
    /// dearest first.
    pub rows: Vec<Row>,
    /// All rows together.
    pub total: Figures,
}

/// One row of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// A value per dimension; empty where a record has none.
    pub values: Vec<String>,
    /// What these records sum up to.
    pub figures: Figures,
}

/// Sums up the records that `query` asks for.
///
/// # Errors
/// When the ledger cannot be read.
pub fn run(reader: &mut dyn LedgerReader, query: &Query) -> Result<Report, StoreFault> {
    let mut tries = TRIES;
    loop {
        let mut sums = Sums::new(query);
        tries -= 1;
        match reader.scan(&query.filter, &mut |record| sums.add(record)) {
            Ok(()) => return Ok(sums.report(query)),
            Err(StoreFault::Moved) if tries > 0 => {}
            Err(fault) => return Err(fault),
        }
    }
}

impl Report {
    /// `{"rows":[{"team":..,"requests":..,..}],"total":{..}}`
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let mut object = Map::new();
            for (dimension, value) in self.by.iter().zip(&row.values) {
                object.insert(dimension.to_string(), value.as_str().into());
            }
            row.figures.add_to_json(&mut object);
            Value::Object(object)
        });
        let rows = rows.collect();
        let mut total = Map::new();
        self.total.add_to_json(&mut total);
        Value::Object(Map::from_iter([("rows".into(), Value::Array(rows)), ("total".into(), total.into())]))
    }
}

/// How often a scan begins again because a running gateway tidied up meanwhile: each time means 64 MiB
/// of journal settled during one scan.
const TRIES: u32 = 5;

struct Sums<'q> {
    grouping: Grouping,
    repricing: Option<&'q Repricing>,
    groups: HashMap<Vec<String>, figures::Sum>,
    total: figures::Sum,
    values: Vec<String>,
}

impl<'q> Sums<'q> {
    fn new(query: &'q Query) -> Self {
        Self {
            grouping: Grouping::new(query),
            repricing: query.repricing.as_ref(),
            groups: HashMap::new(),
            total: figures::Sum::default(),
            values: Vec::new(),
        }
    }

    fn add(&mut self, record: &Record) {
        self.grouping.values_of(record, &mut self.values);
        let repriced = self.repricing.map(|repricing| repricing.cost(record));
        match self.groups.get_mut(&self.values) {
            Some(group) => group.add(record, repriced),
            None => self.groups.entry(self.values.clone()).or_default().add(record, repriced),
        }
        self.total.add(record, repriced);
    }

    fn report(self, query: &Query) -> Report {
        let mut rows: Vec<Row> =
            self.groups.into_iter().map(|(values, sum)| Row { values, figures: sum.figures() }).collect();
        let by_value = query.by.contains(&Dimension::Day);
        rows.sort_by(|a, b| {
            let dearest = (b.figures.cost, b.figures.requests).cmp(&(a.figures.cost, a.figures.requests));
            let values = a.values.cmp(&b.values);
            if by_value { values } else { dearest.then(values) }
        });
        Report { by: query.by.clone(), rows, total: self.total.figures() }
    }
}

#[cfg(test)]
mod tests;
