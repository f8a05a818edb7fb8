//! Commands: a line of words, and the process that they start.

use rankle_core::{Error, Result};
use std::fmt;
use std::process::{Command, Stdio};

/// A command line, split into words as a POSIX shell would. No shell runs: `$`, `*`, `|` and `>` are ordinary characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommandLine {
    text: String,
    words: Vec<String>,
}

impl CommandLine {
    /// # Errors
    /// [`Error::Refused`] for a line without words, and for a quote without an end.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refused =
            |reason: &str| Error::Refused(format!("exec:{text} is no command: {reason}, as in exec:'python3 model.py'"));
        let words = shlex::split(text).ok_or_else(|| refused("a quote has no end"))?;
        if words.first().is_none_or(String::is_empty) {
            return Err(refused("name a program"));
        }
        if text.contains('\0') {
            return Err(refused("leave out the character NUL"));
        }
        Ok(Self { text: text.to_owned(), words })
    }

    /// The text as given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The process, with pipes for its standard streams. It computes on one thread where OpenMP obeys: several copies of it run at
    /// once, and its results must not depend on their number.
    pub(crate) fn process(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env("OMP_NUM_THREADS", "1");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        apart(&mut command);
        end_with_parent(&mut command);
        command
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exec:{}", self.text)
    }
}

/// Puts the process into a group of its own: Ctrl-C in a terminal goes to the parent alone, which ends the child, and a child is
/// ended together with the processes that it has started.
fn apart(command: &mut Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Lets the system end the process with the thread that starts it, also if that is killed. Elsewhere only the end of standard input
/// tells the process.
fn end_with_parent(command: &mut Command) {
    #[cfg(target_os = "linux")]
    {
        use nix::sys::{prctl::set_pdeathsig, signal::Signal};
        // SAFETY: between fork and exec the closure makes one system call; it neither allocates nor locks.
        unsafe { std::os::unix::process::CommandExt::pre_exec(command, || Ok(set_pdeathsig(Signal::SIGKILL)?)) };
    }
    #[cfg(not(target_os = "linux"))]
    let _ = command;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_split_as_a_shell_would_and_no_shell_runs() {
        let words = |text: &str| CommandLine::parse(text).unwrap().words;
        assert_eq!(words("python3 model.py"), ["python3", "model.py"]);
        assert_eq!(words(r#"'my model' "a \"b\"" c\ d"#), ["my model", "a \"b\"", "c d"]);
        assert_eq!(words("run $HOME *.py | cat > x; rm"), ["run", "$HOME", "*.py", "|", "cat", ">", "x;", "rm"]);
        for (text, part) in [("", "name a program"), ("  ", "name a program"), ("'' x", "name a program"), ("a 'b", "no end")] {
            let message = CommandLine::parse(text).unwrap_err().to_string();
            assert!(message.starts_with(&format!("exec:{text} is no command: ")) && message.contains(part), "{message}");
        }
    }
}
