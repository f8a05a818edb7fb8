//! Output, exit codes and one-line error messages of the programs of rankle.
//!
//! Exit codes: 0 done; 1 an error of a file, the data or the machine; 2 wrong arguments; 130 interrupted. Left out: the arguments
//! themselves, progress, and the handling of Ctrl-C, which [`rankle`](../rankle/index.html) has.
//!
//! Definitions: [METHOD.md](../rankle/method/index.html). Neighbors: [`rankle`](../rankle/index.html),
//! [`rankle_hub`](../rankle_hub/index.html).
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

/// An error with its own exit code; every other error ends a program with 1.
#[derive(Debug)]
pub struct Stop {
    code: u8,
    message: String,
}

impl Stop {
    /// An error in the arguments alone: exit code 2.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { code: 2, message: message.into() }
    }

    /// An interruption by Ctrl-C or a signal: exit code 130; `hint` says how to continue.
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

/// The error and its causes in one line, without causes that only repeat the text before them.
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

/// Writes a result to standard output, with a line break at its end. A closed pipe is no error: its reader has read enough, and
/// the work goes on.
///
/// # Errors
/// If standard output cannot be written, as on a full disk.
pub fn answer(text: impl Display) -> anyhow::Result<()> {
    taken(write_line(&mut io::stdout().lock(), text))
}

/// Writes a line to standard error. Failure is ignored, so that the work goes on.
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

/// Writes the error of a command line in one line, or the help if that was requested, and returns the exit code.
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

/// The error of clap in one line, without usage and the advice to read the help.
pub fn complaint(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let usage = text.find("\nUsage:").or_else(|| text.find("\nFor more information")).unwrap_or(text.len());
    one_line(&text[..usage])
}

/// Brings a text to one line of limited length. Names and contents of files may hold anything: control characters, which would be
/// commands to the terminal, are escaped, and the middle of a long text is left out.
pub fn one_line(text: &str) -> String {
    let line = shortened(text).split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Longest line in bytes; half of it is kept at each end of a longer one.
const LONGEST: usize = 4096;

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= LONGEST {
        return text.into();
    }
    let boundary = |mut places: std::ops::Range<usize>| places.find(|&at| text.is_char_boundary(at)).unwrap_or_default();
    let (half, len) = (LONGEST / 2, text.len());
    // A character has at most four bytes.
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
