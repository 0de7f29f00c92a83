//! The facts of an uploaded form, found while its bytes pass.

use std::ops::Range;

use super::ceiling::{InputCeiling, form_ceiling};
use super::multipart::{FormField, FormReader};
use super::path::Endpoint;
use super::request::{BadRequest, BodyForm, RequestFacts, takes_files};

/// A form on a path that takes files, read piece by piece.
#[derive(Debug)]
pub struct Form {
    endpoint: Endpoint,
    reader: FormReader,
    /// Fields that were asked about.
    told: usize,
}

const WANTED: &[&str] = &["model", "stream", "n", "user"];

impl Form {
    /// A reader for the body of a request of this content type; `None` where no form of files is due.
    #[must_use]
    pub fn of(endpoint: &Endpoint, content_type: &str) -> Option<Self> {
        if !takes_files(endpoint.operation) {
            return None;
        }
        let reader = FormReader::of(content_type, WANTED)?;
        Some(Self { endpoint: endpoint.clone(), reader, told: 0 })
    }

    /// Reads the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// What the form has said so far.
    ///
    /// # Errors
    /// If it says two models, or something that upstreams may read in another way than it is read here.
    pub fn facts(&self) -> Result<RequestFacts, BadRequest> {
        let found = self.reader.found();
        if let Some(fault) = found.fault {
            return Err(BadRequest { message: fault.into() });
        }
        let named = |name: &'static str| found.fields.iter().filter(move |field| field.name == name);
        let models: Vec<&FormField> = named("model").collect();
        if models.windows(2).any(|two| two[0].value != two[1].value) {
            return Err(BadRequest { message: "`model` stands in it more than once".into() });
        }
        let model = models.first().filter(|field| !field.value.is_empty());
        let number = |field: &FormField| field.value.trim().parse().ok();
        let last = |name| named(name).next_back().filter(|field| !field.value.is_empty());
        Ok(RequestFacts {
            model: model.map(|field| field.value.clone()),
            // a second one would have to be replaced, too
            model_at: model.filter(|_| models.len() == 1).and_then(|field| place(&field.at)),
            form: BodyForm::Multipart,
            stream: last("stream").is_some_and(|field| field.value == "true"),
            choices: named("n").filter_map(number).max().unwrap_or(1).max(1),
            user: last("user").map(|field| field.value.clone()),
            ..RequestFacts::default()
        })
    }

    /// The facts, if something was said since they were asked for last.
    pub fn news(&mut self) -> Option<Result<RequestFacts, BadRequest>> {
        let found = self.reader.found();
        let said = found.fields.len() + usize::from(found.fault.is_some());
        let is_new = said > std::mem::replace(&mut self.told, said);
        is_new.then(|| self.facts())
    }

    /// The most input tokens of a body of this many bytes, of which what has passed tells the files.
    #[must_use]
    pub fn ceiling(&self, model: &str, body_bytes: u64) -> InputCeiling {
        form_ceiling(self.endpoint.operation, model, body_bytes, self.reader.found().files)
    }
}

fn place(at: &Range<u64>) -> Option<Range<usize>> {
    Some(usize::try_from(at.start).ok()?..usize::try_from(at.end).ok()?)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::dialect::path::classify;

    fn read(text: &str) -> Result<RequestFacts, BadRequest> {
        let endpoint = classify(&Method::POST, "/v1/audio/transcriptions");
        let mut form = Form::of(&endpoint, "multipart/form-data; boundary=B").unwrap();
        form.push(text.as_bytes());
        form.facts()
    }

    fn field(name: &str, value: &str) -> String {
        format!("--B\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn a_readersays_one_model_or_none() {
        let one = field("model", "whisper-1");
        let facts = read(&format!("{one}--B--")).unwrap();
        assert_eq!((facts.model.as_deref(), facts.model_at.is_some()), (Some("whisper-1"), true));
        let twice = read(&format!("{one}{one}--B--")).unwrap();
        assert_eq!((twice.model.as_deref(), twice.model_at), (Some("whisper-1"), None));
        for other in ["gpt-4o-transcribe", ""] {
            assert!(read(&format!("{one}{}--B--", field("model", other))).is_err(), "{other:?}");
        }
        assert_eq!(read("--B--").unwrap().model, None);
    }

    #[test]
    fn the_largest_number_of_images_counts() {
        let form = [field("n", "2"), field("n", "9"), field("n", "1"), field("user", "u")].concat() + "--B--";
        let facts = read(&form).unwrap();
        assert_eq!((facts.choices, facts.user.as_deref()), (9, Some("u")));
    }

    #[test]
    fn only_paths_that_take_files_have_forms() {
        for (path, is_form) in [
            ("/v1/audio/transcriptions", true),
            ("/v1/audio/translations", true),
            ("/v1/images/edits", true),
            ("/v1/images/variations", true),
            ("/v1/chat/completions", false),
            ("/v1/files", false),
        ] {
            let endpoint = classify(&Method::POST, path);
            let form = Form::of(&endpoint, "multipart/form-data; boundary=B");
            assert_eq!(form.is_some(), is_form, "{path}");
            assert!(Form::of(&endpoint, "application/json").is_none());
        }
    }
}
