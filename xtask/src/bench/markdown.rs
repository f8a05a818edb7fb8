//! BENCHMARKS.md and the excerpt in the README, from a result.

use super::Report;
use super::first_run::{FirstRun, minutes};
use super::machine::Machine;
use super::table::{Line, megabytes, percent, time};
use anyhow::{Context, Result};

/// A section of the page: its heading without the marks, and its text.
type Section = (String, String);

/// Heading of the section with the times from a clone to the first cell.
const FIRST_RUN: &str = "First run";
/// Heading of the last section.
const READING: &str = "How to read the tables";

/// BENCHMARKS.md: the old page with the section of the report's processor replaced, or added, and with the row of a first run.
pub(super) fn page(old: &str, report: Option<&Report>, first_run: Option<&FirstRun>) -> String {
    let mut sections = sections(old);
    sections.retain(|(heading, _)| heading != READING);
    if let Some(report) = report {
        let own = (name(&report.machine), processor(report));
        match sections.iter_mut().find(|(heading, _)| *heading == own.0) {
            Some(section) => *section = own,
            None => sections.insert(0, own),
        }
    }
    if let Some(first_run) = first_run {
        let old = sections.iter().position(|(heading, _)| heading == FIRST_RUN).map(|at| sections.remove(at).1);
        sections.push((FIRST_RUN.to_owned(), first_runs(&old.unwrap_or_default(), first_run)));
    }
    sections.push((READING.to_owned(), LEGEND.to_owned()));
    let sections: Vec<String> = sections.iter().map(|(heading, text)| format!("## {heading}\n\n{}\n", text.trim_end())).collect();
    format!("# Benchmarks\n\n{HEAD}\n{}", sections.join("\n"))
}

fn sections(page: &str) -> Vec<Section> {
    let sections = page.split("\n## ").skip(1);
    sections.filter_map(|section| section.split_once('\n')).map(|(heading, text)| (heading.into(), text.trim().into())).collect()
}

/// Heading of a processor's section.
fn name(machine: &Machine) -> String {
    format!("{}, {}", machine.processor.as_deref().unwrap_or("unknown processor"), machine.instruction_set)
}

/// Text of a processor's section: the facts of the run, and its table.
fn processor(report: &Report) -> String {
    let machine = &report.machine;
    let unknown = || "unknown".to_owned();
    let numbers = |values: &[Option<f64>]| {
        let values: Vec<String> = values.iter().map(|value| value.map_or_else(unknown, |value| format!("{value:.1}"))).collect();
        values.join(", ")
    };
    let facts = [
        ("command", format!("`{}`", report.command)),
        ("cores", machine.cores.to_string()),
        ("caches", machine.caches.clone().unwrap_or_else(unknown)),
        ("versions", {
            let others = [("PyTorch", &machine.pytorch), ("onnxruntime", &machine.onnxruntime)];
            let others = others.map(|(name, version)| format!("{name} {}", version.as_deref().unwrap_or("none")));
            format!("rankle {}, {}, {}", machine.rankle, machine.rustc, others.join(", "))
        }),
        ("rounds", format!("{}, each timing {} s or one call", report.loads.len(), report.seconds)),
        ("load before each round (processes that wanted to run)", numbers(&report.loads)),
        (
            "f32 peak of one thread, 10⁹ operations a second",
            report.table.peak_gflops.map_or_else(unknown, |peak| format!("{peak:.0}")),
        ),
    ];
    let mut out = "|  |  |\n|---|---|\n".to_owned();
    facts.iter().for_each(|(what, value)| out += &format!("| {what} | {value} |\n"));
    out += "\n| row / images | rankle | others | best other / rankle | of peak | MB | CPU |\n|---|---:|---|---|---:|---:|---:|\n";
    report.table.lines.iter().for_each(|line| out += &row(line));
    out
}

/// The table of first runs: the rows of other processors, and that of this run.
fn first_runs(old: &str, run: &FirstRun) -> String {
    let FirstRun { machine, load, xtask, driver, first_cell } = run;
    let processor = machine.processor.as_deref().unwrap_or("unknown processor");
    let head = format!("| {processor} |");
    let others =
        old.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| processor |") && !line.starts_with(&head));
    let load = load.map_or_else(|| "unknown".to_owned(), |load| format!("{load:.1}"));
    let stages = [*xtask, driver - xtask, first_cell - driver, *first_cell].map(minutes);
    let own = format!("{head} {} | {load} | {} |", machine.cores, stages.join(" | "));
    let rows: Vec<&str> = others.chain([own.as_str()]).collect();
    format!("{FIRST_RUN_TABLE}{}\n", rows.join("\n"))
}

const FIRST_RUN_TABLE: &str = "\
From a clean clone to the first printed cell of `cargo xtask reproduce`: `cargo xtask bench --first-run`. All of it is compiling; the
crates of the registry are downloaded before.

| processor | cores | load before | xtask, and what both share | the driver | first cell | all |
|---|---:|---:|---:|---:|---:|---:|
";

const HEAD: &str = "\
Written by `cargo xtask bench --markdown` from the numbers of the commands below, a section for each processor. Ratios are
within one run: both sides take turns, row by row, and the medians over the rounds are compared. Absolute times depend on the machine.
";

const LEGEND: &str = "\
- **row / images**: what one call is stands in [xtask/bench/README.md](xtask/bench/README.md). One thread unless the row says otherwise.
- **others**: PyTorch as set up by that page, each with its time; `rankle, one thread` is ourselves. Of `research`, two of thirty steps are
  timed and their time is scaled: it takes minutes.
- **best other / rankle**: the fastest of those that are compared, divided by our time, and the ratio we want at least.
- **of peak**: the arithmetic of the row over the measured peak. A dot where work is skipped because numbers are zero (gradients through
  ReLU and pooling), saved (ResNet's 3x3 convolutions take fewer multiplications), or where a row is more than arithmetic: there the ratio is the only judge.
- **MB**: the most memory (10⁶ bytes) that the process held, ours / the fastest other's, libraries and set-up included.
- **CPU**: the share of processor time that the threads got of what they could use, ours / the fastest other's. Below 100 % something
  else ran, too.
";

fn row(line: &Line) -> String {
    let others: Vec<String> = line.others.iter().map(|(name, side)| format!("{name} {}", time(side.ms))).collect();
    let mut verdicts: Vec<String> = line
        .verdicts
        .iter()
        .map(|verdict| {
            let met = if verdict.met() { "" } else { " **missed**" };
            format!("{:.2}x {} (≥ {}x{met})", verdict.ratio, verdict.best, verdict.floor)
        })
        .collect();
    if let (Some(limit), Some(within)) = (line.limit_mb, line.within_limit()) {
        verdicts.push(format!("≤ {limit:.0} MB{}", if within { "" } else { " **missed**" }));
    }
    verdicts.extend(line.notes.iter().cloned());
    verdicts.extend(line.mismatches.iter().map(|mismatch| format!("**not the same**: {mismatch}")));
    let best = line.others.iter().min_by(|a, b| a.1.ms.total_cmp(&b.1.ms)).map(|(_, side)| side);
    let both = |ours: String, theirs: Option<String>| theirs.map_or(ours.clone(), |theirs| format!("{ours} / {theirs}"));
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |\n",
        line.row,
        time(line.ours.ms),
        others.join("<br>"),
        verdicts.join("<br>"),
        percent(line.share_of_peak),
        both(megabytes(line.ours.peak_mb), best.map(|side| megabytes(side.peak_mb))),
        both(percent(line.ours.cpu_share), best.map(|side| percent(side.cpu_share))),
    )
}

const BEGIN: &str = "<!-- bench:begin -->\n";
const END: &str = "<!-- bench:end -->";

/// Rows of the excerpt.
const EXCERPT: [&str; 5] =
    ["c2f2-pgd-step/500", "c2f2-training-step/500", "resnet18-pgd-step/8", "attack-ca+-w1/1000", "retrieval/1024"];

/// The README with its excerpt replaced: a few rows of every processor of the page, each beside the best other side.
///
/// # Errors
/// When the README lacks the marks of the excerpt.
pub(super) fn into_readme(readme: &str, page: &str) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).with_context(|| format!("the README has no line {}", BEGIN.trim_end()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the README has no line {END}"))?;
    let mut sections = sections(page);
    sections.retain(|(heading, _)| heading != FIRST_RUN && heading != READING);
    let mut excerpt = "An excerpt of [BENCHMARKS.md](BENCHMARKS.md): the time of rankle, and how many times as long the fastest \
                       PyTorch of the same run takes.\n\n| row / images |"
        .to_owned();
    sections.iter().for_each(|(heading, _)| excerpt += &format!(" {heading} |"));
    excerpt += &format!("\n|---|{}\n", "---|".repeat(sections.len()));
    for row in EXCERPT {
        let cells: Vec<String> = sections.iter().map(|(_, text)| excerpt_cell(text, row).unwrap_or_else(|| "·".into())).collect();
        excerpt += &format!("| {row} | {} |\n", cells.join(" | "));
    }
    Ok(format!("{before}{BEGIN}{excerpt}{END}{after}"))
}

/// Our time, the smallest ratio and its other side, from a row of a processor's table.
fn excerpt_cell(section: &str, row: &str) -> Option<String> {
    let line = section.lines().find(|line| line.strip_prefix("| ").is_some_and(|rest| rest.starts_with(&format!("{row} |"))))?;
    let [_, _, ours, _, verdicts, ..] = line.split('|').map(str::trim).collect::<Vec<_>>()[..] else { return None };
    let ratios = verdicts.split("<br>").filter_map(|verdict| {
        let (ratio, rest) = verdict.split_once("x ")?;
        Some((ratio.parse::<f64>().ok()?, rest.split(" (").next()?))
    });
    let (ratio, best) = ratios.min_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(format!("{ours}, {ratio:.2}x {best}"))
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::example;
    use super::*;

    fn report() -> Report {
        let machine = Machine {
            processor: Some("Some CPU".into()),
            cores: 2,
            caches: Some("L1d 48K, L2 2048K".into()),
            instruction_set: "avx512".into(),
            rankle: "0.1.0".into(),
            rustc: "rustc 1.95.0".into(),
            pytorch: Some("2.15".into()),
            onnxruntime: Some("1.24".into()),
        };
        let command = "cargo xtask bench --against-pytorch".into();
        Report { command, machine, seconds: 1.5, loads: vec![Some(0.5), None], table: example(), timings: Vec::new() }
    }

    #[test]
    fn the_page_says_who_made_it_and_shows_every_number() {
        let page = page("", Some(&report()), None);
        for line in [
            "| command | `cargo xtask bench --against-pytorch` |",
            "## Some CPU, avx512",
            "| caches | L1d 48K, L2 2048K |",
            "| load before each round (processes that wanted to run) | 0.5, unknown |",
            "| f32-peak/1 | 10.0 ms |  |  | 100 % | 100 | 90 % |",
            "| c2f2-forward/100 | 5.0 ms | eager 9.0 ms<br>compile 6.5 ms | 1.30x compile (≥ 1.3x) | 90 % | 100 / 100 | 90 % / 90 % |",
            "| attack/500 | 700.0 ms |  | ≤ 300 MB **missed**<br>62.5 images a second<br>0.2 % of it waiting for them | · | 301 | 90 % |",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        assert!(page.contains("9.00x research (≥ 10x **missed**)<br>3.00x vectorized (≥ 3x)"));
    }

    #[test]
    fn every_processor_keeps_its_section() {
        let run = |processor: &str, seconds| FirstRun {
            machine: Machine { processor: Some(processor.into()), cores: 2, ..Machine::default() },
            load: Some(0.1),
            xtask: 60.0,
            driver: 180.0,
            first_cell: seconds,
        };
        let mut other = report();
        other.machine.processor = Some("Other CPU".into());
        let first = page("", Some(&report()), Some(&run("Some CPU", 190.0)));
        let both = page(&first, Some(&other), Some(&run("Other CPU", 200.0)));
        let headings: Vec<&str> = both.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(headings, ["## Other CPU, avx512", "## Some CPU, avx512", "## First run", "## How to read the tables"]);
        assert!(
            both.contains("\n| Some CPU | 2 | 0.1 | 1:00 min | 2:00 min | 0:10 min | 3:10 min |\n| Other CPU | 2 |"),
            "{both}"
        );
        // The same run again changes nothing; without a first run those of before stay.
        assert_eq!(page(&both, Some(&other), Some(&run("Other CPU", 200.0))), both);
        assert_eq!(page(&both, Some(&report()), None), both);
        assert_eq!(page(&both, None, Some(&run("Other CPU", 200.0))), both);
    }

    #[test]
    fn the_readme_changes_between_its_marks_only() {
        let readme = format!("above\n{BEGIN}old\n{END}\nbelow\n");
        let page = page("", Some(&report()), None);
        let new = into_readme(&readme, &page).unwrap();
        assert!(new.starts_with("above\n<!-- bench:begin -->\nAn excerpt") && new.ends_with("<!-- bench:end -->\nbelow\n"));
        assert!(new.contains("| row / images | Some CPU, avx512 |\n|---|---|\n"), "{new}");
        assert!(new.contains("\n| attack-ca+-w1/1000 | 4.00 s, 3.00x vectorized |\n"), "{new}");
        assert!(new.contains("\n| retrieval/1024 | · |\n"), "{new}");
        assert!(!new.contains("old") && !new.contains("research 36") && !new.contains("c2f2-forward"));
        assert_eq!(into_readme(&new, &page).unwrap(), new);
        assert!(into_readme("nothing here", &page).is_err());
    }
}
