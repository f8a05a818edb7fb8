//! How the programs of rankle speak and end: results and remarks that outlive a dead pipe, an exit code, and what went wrong in
//! one line.
//!
//! 0: done; 1: a file, data or the machine stood in the way; 2: the arguments are wrong; 130: interrupted. It leaves out the
//! arguments themselves, progress, and what Ctrl-C does until then.
//!
//! ```
//! use anyhow::Context;
//! use rankle_cli::{Stop, code, line};
//!
//! let error = Err::<(), _>(Stop::interrupted("the same command goes on")).context("cell 7").unwrap_err();
//! assert_eq!((code(&error), line(&error).as_str()), (130, "error: cell 7: interrupted; the same command goes on"));
//! ```

use anyhow::Context;
use clap::error::ErrorKind;
use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io::{self, Write};

/// Ends a program with an exit code of its own; every other error ends it with 1.
#[derive(Debug)]
pub struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// For what the arguments alone show to be wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// For Ctrl-C and its kin; `hint` says how to go on.
    pub fn interrupted(hint: impl Display) -> Self {
        Self { code: 130, message: format!("interrupted; {hint}") }
    }
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Stop {}

/// The exit code of an error.
pub fn code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Stop>().map_or(1, |stop| stop.code)
}

/// The error and its causes in one line, without those that only repeat what was said.
pub fn line(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| one_line(&cause.to_string())) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    format!("error: {text}")
}

/// Writes a result to standard output, and a line break where it has none. A reader that has gone has read what it wanted: it
/// never stops the work.
///
/// # Errors
/// When standard output cannot take it, as on a full disk.
pub fn answer(text: impl Display) -> anyhow::Result<()> {
    taken(write_line(&mut io::stdout().lock(), text))
}

/// Says a line on standard error, on the way to a result. Where nobody can hear it, the work goes on.
pub fn say(text: impl Display) {
    write_line(&mut io::stderr().lock(), text).ok();
}

fn write_line(out: &mut dyn Write, text: impl Display) -> io::Result<()> {
    let mut text = text.to_string();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn taken(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output cannot be written"),
    }
}

/// Says what is wrong with the command line, in one line unless help was asked for, and returns the exit code.
pub fn refuse(error: &clap::Error) -> u8 {
    let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
    if !help.contains(&error.kind()) {
        say(complaint(error));
    } else if let Err(error) = taken(error.print()) {
        say(line(&error));
        return code(&error);
    }
    error.exit_code() as u8
}

/// The error of clap in one line, without its advice to read the manual.
pub fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let usage = text.find("\nUsage:").or_else(|| text.find("\nFor more information")).unwrap_or(text.len());
    one_line(&text[..usage])
}

/// A text as one line of a length that a person reads. File names and files may hold anything: what would be a command to the
/// terminal is written out, and of what is too long the middle is left out.
pub fn one_line(text: &str) -> String {
    let line = shortened(text).split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Bytes of a line, of which so many are kept at either end.
const LONGEST: usize = 4096;

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let boundary = |mut places: std::ops::Range<usize>| places.find(|&at| text.is_char_boundary(at)).unwrap_or_default();
    let (half, len) = (LONGEST / 2, text.len());
    // A character has four bytes at most.
    let (start, end) = (boundary(half - 3..len), boundary(len - half..len));
    format!("{} … ({} bytes are left out) … {}", &text[..start], end - start, &text[end..]).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[test]
    fn codes_and_lines_survive_added_context() {
        let wrap = |error: anyhow::Error| Err::<(), _>(error).context("cell 7").unwrap_err();
        let usage = wrap(Stop::usage("--xi is for sp-qa").into());
        assert_eq!((code(&usage), line(&usage)), (2, "error: cell 7: --xi is for sp-qa".to_owned()));
        let repeated = wrap(anyhow!("no disk").context("cannot write x: no\n  disk"));
        assert_eq!((code(&repeated), line(&repeated)), (1, "error: cell 7: cannot write x: no disk".to_owned()));
        assert_eq!(line(&anyhow!("a\x1b]0;name\x07.jpg is broken")), "error: a\\u{1b}]0;name\\u{7}.jpg is broken");
    }

    #[test]
    fn what_is_too_long_is_cut_in_the_middle() {
        let text = format!("error: {} is no index", "é".repeat(3_000_000));
        let said = one_line(&text);
        assert!(said.len() < LONGEST + 100 && said.starts_with("error: éé") && said.ends_with("éé is no index"), "{said}");
        assert!(said.contains("é … (5995926 bytes are left out) … é"), "{said}");
        assert_eq!(one_line(&"é".repeat(LONGEST / 2)).len(), LONGEST);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let answer = |kind| taken(write_line(&mut Broken(kind), "x"));
        assert!(answer(io::ErrorKind::BrokenPipe).is_ok());
        let error = answer(io::ErrorKind::StorageFull).unwrap_err();
        assert!(code(&error) == 1 && line(&error).starts_with("error: standard output cannot be written: "), "{error:#}");
        let mut lines = Vec::new();
        write_line(&mut lines, "a").and_then(|()| write_line(&mut lines, "b\n")).unwrap();
        assert_eq!(lines, b"a\nb\n");
    }

    #[test]
    fn complaints_are_one_line_with_the_value_and_the_nearest() {
        let command = clap::Command::new("program").arg(clap::arg!(--device <NAME>).value_parser(["cpu", "metal"]));
        let error = command.try_get_matches_from(["program", "--device", "metall"]).unwrap_err();
        let said = complaint(&error);
        assert!(said.starts_with("error: invalid value 'metall' for '--device <NAME>' [possible values: cpu, metal]"), "{said}");
        assert!(said.ends_with("tip: a similar value exists: 'metal'") && said.lines().count() == 1, "{said}");
        assert_eq!(refuse(&error), 2);
    }
}
