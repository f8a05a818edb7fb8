//! Sanity checks of a model that is claimed to be robust (METHOD.md 14), as a page and as JSON.

mod claim;

use crate::{Epsilon, Error, Provenance, Result, Source, Subject, markdown};
pub use claim::{Claim, ENOUGH_IMAGES, QUESTIONS, UNCHECKED};
use rankle_record::finite;
use serde::{Deserialize, Serialize};
use std::fmt::{self, Write};
use std::path::Path;

/// Sanity page of one model. Ranks, recalls and shares are in percent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sanity {
    /// The model, and the data that it ranks.
    #[serde(flatten)]
    pub subject: Subject,
    /// Preprocessing of photographs, as [`crate::Facts::preprocessing`]. Omitted for other images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<String>,
    /// Radius of the ball in pixel units.
    #[serde(serialize_with = "finite::number")]
    pub epsilon: f64,
    /// Number of attacked images.
    pub images: usize,
    /// Number of ranked items.
    pub gallery: usize,
    /// Seed of every draw.
    pub seed: u64,
    /// Recall at 1 without an attack, over the items of the check `collapse`; `None` if none of them has another item of its
    /// class.
    #[serde(serialize_with = "finite::optional")]
    pub recall_at_1: Option<f64>,
    /// Source model of the check `transfer`; `None` if there was none.
    pub against: Option<Source>,
    /// Checks with their answers.
    pub checks: Vec<Check>,
    /// Wall-clock time in seconds.
    #[serde(serialize_with = "finite::number")]
    pub seconds: f64,
    /// The weights, the code and the machine.
    #[serde(flatten)]
    pub provenance: Provenance,
}

/// One check: a claim, measurements and a verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Short name, as in `noise`.
    pub name: String,
    /// Claim that is checked: one sentence, true of a robust model.
    pub claim: String,
    /// Description of the measurement.
    pub measured: String,
    /// Condition under which an answer passes.
    pub expectation: String,
    /// Meaning of a failure.
    pub failure: String,
    /// Headings of the numbers of an answer.
    pub columns: Vec<String>,
    /// Answers, one per attack or property.
    pub answers: Vec<Answer>,
    /// Fail if any answer fails, pass if all pass, otherwise no answer.
    pub verdict: Verdict,
    /// Reason for missing answers.
    pub reason: Option<String>,
}

/// One line of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The attack or the property.
    pub of: String,
    /// One number per column; `None` if it is missing or not finite.
    pub numbers: Vec<Option<f64>>,
    /// Verdict on the numbers.
    pub verdict: Verdict,
}

/// Result of a check. A failure is a finding about a model, never an error of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// As expected of a robust model.
    #[serde(rename = "pass")]
    Pass,
    /// Not as expected of a robust model.
    #[serde(rename = "fail")]
    Fail,
    /// No answer.
    #[serde(rename = "no answer")]
    NoAnswer,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NoAnswer => "no answer",
        })
    }
}

impl Answer {
    /// An answer in which numbers that are not finite are `None`.
    pub fn new(of: impl fmt::Display, numbers: &[f64], verdict: Verdict) -> Self {
        let numbers = numbers.iter().map(|&number| number.is_finite().then_some(number)).collect();
        Self { of: of.to_string(), numbers, verdict }
    }
}

impl Check {
    /// The same check with these answers, and the verdict that follows from them.
    #[must_use]
    pub fn answered(self, answers: Vec<Answer>) -> Self {
        let any = |verdict| answers.iter().any(|answer| answer.verdict == verdict);
        let verdict = match (any(Verdict::Fail), any(Verdict::NoAnswer) || answers.is_empty()) {
            (true, _) => Verdict::Fail,
            (false, true) => Verdict::NoAnswer,
            (false, false) => Verdict::Pass,
        };
        Self { answers, verdict, ..self }
    }

    fn markdown(&self, out: &mut String) -> fmt::Result {
        let Self { name, claim, measured, expectation, failure, verdict, .. } = self;
        writeln!(out, "\n## {name}: {verdict}\n\n{claim}\n\nMeasured: {measured}\n")?;
        if let Some(reason) = &self.reason {
            writeln!(out, "No answer: {reason}\n")?;
        }
        if !self.answers.is_empty() {
            let columns = self.columns.iter().cloned().chain(["verdict".to_owned()]);
            writeln!(out, "{}\n{}", markdown::row("", columns), markdown::rule(self.columns.len() + 1))?;
        }
        for Answer { of, numbers, verdict } in &self.answers {
            let mark = if *verdict == Verdict::Fail { "**fail**".to_owned() } else { verdict.to_string() };
            let numbers = numbers.iter().map(|&number| shown(number));
            writeln!(out, "{}", markdown::row(of, numbers.chain([mark])))?;
        }
        writeln!(out, "\nExpected: {expectation} If not: {failure}")
    }
}

impl Sanity {
    /// Reads the JSON of a page.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, [`Error::Make`] if it is not a sanity page.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::file("read", path))?;
        let what = |reason| format!("{} is no sanity page: {reason}", path.display());
        serde_json::from_str(&text).map_err(|reason| Error::Make { what: "sense of a file", reason: what(reason) })
    }

    /// The page as one line of JSON.
    ///
    /// # Errors
    /// [`Error::Make`] if a number is not finite.
    pub fn to_line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(Error::make("the sanity page"))
    }

    /// Names of the checks with this verdict.
    pub fn with(&self, verdict: Verdict) -> Vec<&str> {
        self.checks.iter().filter(|check| check.verdict == verdict).map(|check| check.name.as_str()).collect()
    }

    /// Checks without any answer, and single unanswered lines of the other checks, as in `noise (qa-)`.
    pub fn open(&self) -> Vec<String> {
        let open = |check: &Check| {
            let without = check.answers.iter().filter(|answer| answer.verdict == Verdict::NoAnswer);
            let without: Vec<&str> = without.map(|answer| answer.of.as_str()).collect();
            match (without.len() == check.answers.len(), without.is_empty()) {
                (true, _) => Some(check.name.clone()),
                (false, true) => None,
                (false, false) => Some(format!("{} ({})", check.name, without.join(", "))),
            }
        };
        self.checks.iter().filter_map(open).collect()
    }

    /// Summary in one line, as in `5 of 7 checks passed; failed: effort; no answer: noise (qa-), transfer`.
    pub fn headline(&self) -> String {
        let mut line = format!("{} of {} checks passed", self.with(Verdict::Pass).len(), self.checks.len());
        let failed = self.with(Verdict::Fail).into_iter().map(str::to_owned).collect();
        for (what, names) in [("failed", failed), ("no answer", self.open())] {
            if !names.is_empty() {
                line += &format!("; {what}: {}", names.join(", "));
            }
        }
        line
    }

    /// Renders the page as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        self.write_markdown(&mut out).expect("a string takes everything");
        out
    }

    fn write_markdown(&self, out: &mut String) -> fmt::Result {
        let Self { subject, provenance, epsilon, images, gallery, seed, .. } = self;
        let (Subject { model, distance, weights, .. }, dataset) = (subject, subject.data());
        writeln!(out, "# Is the defense real? {model} on {dataset}, {distance} distance\n")?;
        writeln!(out, "**{}.** A failed check is a finding about the model, or about the attack it is measured with.", {
            self.headline()
        })?;
        writeln!(out, "Passing all of them proves nothing for attacks that are not among them.\n")?;
        writeln!(out, "- weights: `{weights}`, SHA-256 {}", provenance.weights_sha256)?;
        writeln!(
            out,
            "- {images} images attacked in a gallery of {gallery}, one target each, ε = {}, seed {seed}",
            Epsilon(*epsilon)
        )?;
        if let Some(recall) = self.recall_at_1 {
            writeln!(out, "- recall at 1 without an attack: {recall:.1} % of the items that `collapse` looks at")?;
        }
        if let Some(Source { weights, weights_sha256, model, distance, .. }) = &self.against {
            writeln!(out, "- transferred from: {model} ({distance}), `{weights}`, SHA-256 {weights_sha256}")?;
        }
        let Provenance { device, instruction_set, code_version, .. } = provenance;
        writeln!(out, "- {:.0} s on {device} ({instruction_set}), version {code_version}\n", self.seconds)?;
        writeln!(
            out,
            "Ranks are mean normalized ranks in percent of the gallery, by the definitions of the paper: 0 is the top of a list. The plus \
             attacks (ca+, qa+) want it low, the minus attacks (ca-, qa-) want it high; ca moves the image in the list of a query, \
             qa moves a candidate in the list of the image. The effect of an attack is how far the rank moves its way.\n"
        )?;
        writeln!(out, "| check | claim | verdict |\n|---|---|---|")?;
        for Check { name, claim, verdict, .. } in &self.checks {
            writeln!(out, "| {name} | {claim} | {verdict} |")?;
        }
        self.checks.iter().try_for_each(|check| check.markdown(out))
    }
}

/// Formats a number with two decimals, and with more digits if it is small.
fn shown(number: Option<f64>) -> String {
    match number {
        None => "–".to_owned(),
        Some(number) if number == number.trunc() && number.abs() < 1e6 => format!("{number}"),
        Some(number) if number.abs() >= 1.0 => format!("{number:.2}"),
        Some(number) if number.abs() >= 1e-3 => format!("{number:.4}"),
        Some(number) => format!("{number:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Fail, NoAnswer, Pass};

    pub(super) fn check(name: &str, answers: &[(&str, f64, Verdict)]) -> Check {
        let text = |what: &str| format!("{what} of {name}.");
        Check {
            name: name.to_owned(),
            claim: text("claim"),
            measured: text("measured"),
            expectation: text("expectation"),
            failure: text("failure"),
            columns: vec!["rank, %".to_owned()],
            answers: Vec::new(),
            verdict: NoAnswer,
            reason: answers.is_empty().then(|| "nobody asked".to_owned()),
        }
        .answered(answers.iter().map(|&(of, number, verdict)| Answer::new(of, &[number], verdict)).collect())
    }

    pub(super) fn page() -> Sanity {
        Sanity {
            subject: crate::Subject { weights: "w.safetensors".into(), ..crate::sample::subject() },
            preprocessing: None,
            epsilon: 0.3,
            images: 100,
            gallery: 10_000,
            seed: 0,
            recall_at_1: Some(98.4),
            against: None,
            checks: vec![
                check("noise", &[("ca+", 49.123, Pass), ("ca-", f64::NAN, NoAnswer)]),
                check("effort", &[("ca+", 0.000_01, Pass), ("ca-", 7.0, Fail)]),
                check("transfer", &[]),
            ],
            seconds: 40.0,
            provenance: crate::sample::provenance(),
        }
    }

    #[test]
    fn one_failed_answer_fails_a_check_and_one_that_lacks_leaves_it_open() {
        assert_eq!(page().checks.iter().map(|check| check.verdict).collect::<Vec<_>>(), [NoAnswer, Fail, NoAnswer]);
        assert_eq!(page().headline(), "0 of 3 checks passed; failed: effort; no answer: noise (ca-), transfer");
    }

    #[test]
    fn the_page_shows_every_number_and_why_there_is_none() {
        let text = page().markdown();
        for part in [
            "# Is the defense real? c2f2 on mnist, cosine distance\n",
            "| effort | claim of effort. | fail |\n",
            "## noise: no answer\n",
            "|  | rank, % | verdict |\n|---:|---:|---:|\n| ca+ | 49.12 | pass |\n| ca- | – | no answer |\n",
            "| ca+ | 1.0e-5 | pass |\n| ca- | 7 | **fail** |\n",
            "No answer: nobody asked\n",
            "Expected: expectation of noise. If not: failure of noise.\n",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn a_page_comes_back_as_it_was_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let line = page().to_line().unwrap();
        assert!(line.contains(r#""numbers":[null],"verdict":"no answer""#), "{line}");
        std::fs::write(file.path(), line).unwrap();
        assert_eq!(Sanity::read(file.path()).unwrap(), page());
        std::fs::write(file.path(), "{}").unwrap();
        let message = Sanity::read(file.path()).unwrap_err().to_string();
        assert!(message.contains("is no sanity page: missing field"), "{message}");
        assert!(Sanity { epsilon: f64::NAN, ..page() }.to_line().is_err());
    }
}
