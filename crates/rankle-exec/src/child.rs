//! A running process: one frame in, one frame out, within a time limit.

use crate::command::CommandLine;
use crate::frame::LENGTH;
use crate::stderr::LastWords;
use std::io::{self, Read, Write};
use std::process::{self, ChildStdin, ChildStdout, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The process cannot be started.
    Start(io::Error),
    /// No whole answer in time; holds the beginning of the answer.
    Slow(Vec<u8>),
    /// The process has ended; holds the beginning of the answer and the end of the process, in words.
    Ended(Vec<u8>, String),
    /// A length beyond any answer: text, or a lie. Holds the bytes in its place.
    Length(Vec<u8>),
    /// The caller asked to stop.
    Interrupted,
}

/// Time that a process has to end after its standard input has.
const GRACE: Duration = Duration::from_secs(2);

/// Interval at which the end of a process and interrupts are looked for.
const TICK: Duration = Duration::from_millis(10);

/// A running process.
///
/// A thread of its own, the keeper, starts the process, feeds it and sees it end: the system ends a process with the thread that
/// started it. Another one reads its answers, so that neither side can block the other, nor this one.
pub(crate) struct Child {
    frames: Option<Sender<Vec<u8>>>,
    answers: Receiver<Vec<u8>>,
    /// Bytes that were read, and belong to no answer yet.
    pending: Vec<u8>,
    last_words: LastWords,
    process: Arc<Mutex<Process>>,
    keeper: Option<JoinHandle<()>>,
}

impl Child {
    /// # Errors
    /// [`Fault::Start`].
    pub(crate) fn start(command: &CommandLine) -> Result<Self, Fault> {
        let mut command = command.process();
        let (frames, asked) = mpsc::channel::<Vec<u8>>();
        let (started, start) = mpsc::channel();
        let keeper = thread::spawn(move || {
            let mut process = match command.spawn() {
                Ok(process) => process,
                Err(error) => return drop(started.send(Err(error))),
            };
            let streams = (process.stdin.take(), process.stdout.take(), process.stderr.take());
            let (Some(stdin), Some(stdout), Some(stderr)) = streams else { return };
            let process = Arc::new(Mutex::new(Process { leader: process, status: None }));
            if started.send(Ok((process.clone(), stdout, stderr))).is_ok() {
                feed(stdin, &asked);
            }
            see_off(&process);
        });
        let lost = || io::Error::other("its pipes cannot be opened");
        let (process, stdout, stderr) = start.recv().unwrap_or_else(|_| Err(lost())).map_err(Fault::Start)?;
        Ok(Self {
            frames: Some(frames),
            answers: pieces(stdout),
            pending: Vec::new(),
            last_words: LastWords::of(stderr),
            process,
            keeper: Some(keeper),
        })
    }

    /// Sends a frame and waits for the answer, of at most `most` bytes. The process is killed at a fault.
    ///
    /// # Errors
    /// A [`Fault`].
    pub(crate) fn ask(
        &mut self,
        frame: Vec<u8>,
        most: usize,
        timeout: Duration,
        interrupted: fn() -> bool,
    ) -> Result<Vec<u8>, Fault> {
        let answer = self.answer(frame, most, Instant::now() + timeout, interrupted);
        answer.inspect_err(|_| locked(&self.process).kill())
    }

    fn answer(&mut self, frame: Vec<u8>, most: usize, deadline: Instant, interrupted: fn() -> bool) -> Result<Vec<u8>, Fault> {
        if let Some(frames) = &self.frames {
            // A keeper that has gone tells itself by the end of the answers.
            frames.send(frame).ok();
        }
        let length = self.take(LENGTH, deadline, interrupted)?;
        let number = length.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
        match usize::try_from(number).ok().filter(|&length| length <= most) {
            Some(length) => self.take(length, deadline, interrupted),
            None => Err(Fault::Length([length, std::mem::take(&mut self.pending)].concat())),
        }
    }

    /// The next `count` bytes.
    fn take(&mut self, count: usize, deadline: Instant, interrupted: fn() -> bool) -> Result<Vec<u8>, Fault> {
        while self.pending.len() < count {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.answers.recv_timeout(left.min(TICK)) {
                Ok(piece) => self.pending.extend(piece),
                Err(_) if interrupted() => return Err(Fault::Interrupted),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Fault::Slow(std::mem::take(&mut self.pending))),
                Err(RecvTimeoutError::Timeout) => (),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Fault::Ended(std::mem::take(&mut self.pending), self.end()));
                }
            }
        }
        let rest = self.pending.split_off(count);
        Ok(std::mem::replace(&mut self.pending, rest))
    }

    /// How the process ended, in words; one that has only closed its standard output has not.
    fn end(&self) -> String {
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if let Ok(Some(status)) = locked(&self.process).ended() {
                return format!("it ended ({status})");
            }
            thread::sleep(TICK);
        }
        "it closed its standard output".to_owned()
    }

    /// The last lines on standard error, as the end of a message.
    pub(crate) fn last_words(&self) -> String {
        self.last_words.quoted()
    }

    /// Ends the standard input of the process, which asks it to end.
    pub(crate) fn dismiss(&mut self) {
        self.frames = None;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.dismiss();
        // Not joined: a process that left its group may keep a pipe open for ever.
        let (start, keeper) = (Instant::now(), self.keeper.take());
        while keeper.as_ref().is_some_and(|keeper| !keeper.is_finished()) && start.elapsed() < 2 * GRACE {
            thread::sleep(TICK);
        }
    }
}

/// Writes the frames that are sent; returns when no more can come, or when the process takes no more.
fn feed(mut stdin: ChildStdin, frames: &Receiver<Vec<u8>>) {
    while let Ok(frame) = frames.recv() {
        if stdin.write_all(&frame).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

/// Waits for the end of a process whose standard input has ended, and kills it when it takes too long.
fn see_off(process: &Mutex<Process>) {
    let start = Instant::now();
    while matches!(locked(process).ended(), Ok(None)) {
        if start.elapsed() > GRACE {
            locked(process).kill();
        }
        thread::sleep(TICK);
    }
}

/// A process and those that it started, which are in its group.
struct Process {
    leader: process::Child,
    /// Set once the leader was waited for; its number may be another's from then on.
    status: Option<ExitStatus>,
}

impl Process {
    /// The status of a leader that has ended. The others of its group are killed then.
    fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.leader.try_wait()?;
            // Just waited for: its number is still that of its group, or nobody's.
            if self.status.is_some() {
                self.kill_group();
            }
        }
        Ok(self.status)
    }

    /// Kills the leader, if it was not waited for, with all others.
    fn kill(&mut self) {
        if self.status.is_none() {
            self.kill_group();
            self.leader.kill().ok();
        }
    }

    fn kill_group(&self) {
        #[cfg(unix)]
        if let Ok(group) = i32::try_from(self.leader.id()) {
            nix::sys::signal::killpg(nix::unistd::Pid::from_raw(group), nix::sys::signal::Signal::SIGKILL).ok();
        }
    }
}

fn locked(process: &Mutex<Process>) -> std::sync::MutexGuard<'_, Process> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes of a piece of an answer, and pieces that may wait: what a program sends unasked stays in its pipe.
const PIECE: usize = 64 << 10;
const WAITING: usize = 4;

/// The output of a process, piece by piece.
fn pieces(mut stdout: ChildStdout) -> Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::sync_channel(WAITING);
    thread::spawn(move || {
        let mut piece = vec![0; PIECE];
        while let Ok(read @ 1..) = stdout.read(&mut piece) {
            if sender.send(piece[..read].to_vec()).is_err() {
                return;
            }
        }
    });
    pieces
}
