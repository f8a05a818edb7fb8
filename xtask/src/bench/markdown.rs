//! BENCHMARKS.md and the excerpt in the README, from a result.

use super::Report;
use super::table::{Line, megabytes, percent, time};
use anyhow::{Context, Result};

pub(super) fn page(report: &Report) -> String {
    let machine = &report.machine;
    let unknown = || "unknown".to_owned();
    let numbers = |values: &[Option<f64>]| {
        let values: Vec<String> = values.iter().map(|value| value.map_or_else(unknown, |value| format!("{value:.1}"))).collect();
        values.join(", ")
    };
    let facts = [
        ("command", format!("`{}`", report.command)),
        ("processor", machine.processor.clone().unwrap_or_else(unknown)),
        ("cores, instructions", format!("{}, {}", machine.cores, machine.instruction_set)),
        (
            "versions",
            format!("rankle {}, {}, PyTorch {}", machine.rankle, machine.rustc, machine.pytorch.as_deref().unwrap_or("none")),
        ),
        ("rounds", format!("{}, each timing {} s or one call", report.loads.len(), report.seconds)),
        ("load before each round (processes that wanted to run)", numbers(&report.loads)),
        (
            "f32 peak of one thread, 10⁹ operations a second",
            report.table.peak_gflops.map_or_else(unknown, |peak| format!("{peak:.0}")),
        ),
    ];
    let mut out = format!("# Benchmarks\n\n{HEAD}\n|  |  |\n|---|---|\n");
    facts.iter().for_each(|(what, value)| out += &format!("| {what} | {value} |\n"));
    out += "\n| row / images | rankle | others | best other / rankle | of peak | MB | CPU |\n|---|---:|---|---|---:|---:|---:|\n";
    report.table.lines.iter().for_each(|line| out += &row(line));
    out + "\n" + LEGEND
}

const HEAD: &str = "\
Written by `cargo xtask bench --markdown` from the numbers of the command below. Ratios are within that one run: both sides take
turns, row by row, and the medians over the rounds are compared. Absolute times depend on the machine.
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

/// The README with its excerpt replaced: a few rows, each beside the best other side.
///
/// # Errors
/// When the README lacks the marks of the excerpt.
pub(super) fn into_readme(readme: &str, report: &Report) -> Result<String> {
    let (before, rest) = readme.split_once(BEGIN).with_context(|| format!("the README has no line {}", BEGIN.trim_end()))?;
    let (_, after) = rest.split_once(END).with_context(|| format!("the README has no line {END}"))?;
    let machine = &report.machine;
    let mut excerpt = format!(
        "An excerpt of [BENCHMARKS.md](BENCHMARKS.md) ({}, {}; PyTorch {}):\n\n",
        machine.processor.as_deref().unwrap_or("unknown processor"),
        machine.instruction_set,
        machine.pytorch.as_deref().unwrap_or("none"),
    );
    excerpt += "| row / images | rankle | best other | other / rankle |\n|---|---:|---|---:|\n";
    for line in report.table.lines.iter().filter(|line| EXCERPT.contains(&&*line.row)) {
        if let Some(verdict) = line.verdicts.iter().min_by(|a, b| a.ratio.total_cmp(&b.ratio)) {
            let (ours, theirs, ratio) = (time(line.ours.ms), time(line.ours.ms * verdict.ratio), verdict.ratio);
            excerpt += &format!("| {} | {ours} | {} {theirs} | {ratio:.2}x |\n", line.row, verdict.best);
        }
    }
    Ok(format!("{before}{BEGIN}{excerpt}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::super::machine::Machine;
    use super::super::table::tests::example;
    use super::*;

    fn report() -> Report {
        let machine = Machine {
            processor: Some("Some CPU".into()),
            cores: 2,
            instruction_set: "avx512".into(),
            rankle: "0.1.0".into(),
            rustc: "rustc 1.95.0".into(),
            pytorch: Some("2.15".into()),
        };
        let command = "cargo xtask bench --against-pytorch".into();
        Report { command, machine, seconds: 1.5, loads: vec![Some(0.5), None], table: example(), timings: Vec::new() }
    }

    #[test]
    fn the_page_says_who_made_it_and_shows_every_number() {
        let page = page(&report());
        for line in [
            "| command | `cargo xtask bench --against-pytorch` |",
            "| processor | Some CPU |",
            "| load before each round (processes that wanted to run) | 0.5, unknown |",
            "| f32-peak/1 | 10.0 ms |  |  | 100 % | 100 | 90 % |",
            "| c2f2-forward/100 | 5.0 ms | eager 9.0 ms<br>compile 6.5 ms | 1.30x compile (≥ 1.1x) | 90 % | 100 / 100 | 90 % / 90 % |",
            "| attack/500 | 700.0 ms |  | ≤ 300 MB **missed**<br>62.5 images a second<br>0.2 % of it waiting for them | · | 301 | 90 % |",
        ] {
            assert!(page.lines().any(|own| own == line), "{line}\n{page}");
        }
        assert!(page.contains("9.00x research (≥ 10x **missed**)<br>3.00x vectorized (≥ 2x)"));
    }

    #[test]
    fn the_readme_changes_between_its_marks_only() {
        let readme = format!("above\n{BEGIN}old\n{END}\nbelow\n");
        let new = into_readme(&readme, &report()).unwrap();
        assert!(new.starts_with("above\n<!-- bench:begin -->\nAn excerpt") && new.ends_with("<!-- bench:end -->\nbelow\n"));
        assert!(new.contains("| attack-ca+-w1/1000 | 4.00 s | vectorized 12.00 s | 3.00x |"), "{new}");
        assert!(!new.contains("old") && !new.contains("research 36") && !new.contains("c2f2-forward"));
        assert_eq!(into_readme(&new, &report()).unwrap(), new);
        assert!(into_readme("nothing here", &report()).is_err());
    }
}
