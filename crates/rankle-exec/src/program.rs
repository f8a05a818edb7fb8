//! A program as a model.

use crate::child::{Child, Fault};
use crate::command::CommandLine;
use crate::description::Description;
use crate::frame::{self, Part, Request};
use crate::pool::Pool;
use candle_core::{Device, Tensor};
use rankle_core::numbers::numbers;
use rankle_core::{Differentiable, Distance, Embedder, Error, InputSpec, Result, Upstream};
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Limits of a program.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Time for each answer, loading the model included.
    pub timeout: Duration,
    /// Number of copies that run at the same time, at most. No result depends on it.
    pub processes: usize,
    /// True once the user has asked to stop; polled while an answer is awaited.
    pub interrupted: fn() -> bool,
}

/// Largest number of images in a request, and of bytes of their pixels. They depend on the shape alone, so that a model that rounds
/// otherwise in other batches gives the same results on any number of threads.
const IMAGES: usize = 32;
const BYTES: usize = 16 << 20;

/// A running program.
pub struct Program {
    command: CommandLine,
    settings: Settings,
    description: Description,
    pool: Pool,
}

impl Program {
    /// Checks that a line is a command, and starts nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] for a line without words, and for a quote without an end.
    pub fn check(command: &str) -> Result<()> {
        CommandLine::parse(command).map(drop)
    }

    /// Starts a program and asks it for its description.
    ///
    /// # Errors
    /// [`Error::Refused`] naming the command, when it cannot be started or does not answer as the protocol wants it.
    pub fn start(command: &str, settings: Settings) -> Result<Self> {
        let command = CommandLine::parse(command)?;
        let (child, description) = described(&command, &settings)?;
        Ok(Self { description, pool: Pool::of(child, settings.processes), command, settings })
    }

    /// The command.
    pub fn command(&self) -> &str {
        self.command.text()
    }

    /// What the program says of its model.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The model, for a distance.
    pub fn model(self: &Arc<Self>, distance: Distance) -> ProgramModel {
        ProgramModel { program: self.clone(), distance }
    }

    /// Another copy, which must be of the same model.
    fn copy(&self) -> Result<Child> {
        let (child, description) = described(&self.command, &self.settings)?;
        if description != self.description {
            let (first, second) = (self.description, description);
            return Err(refused(
                &self.command,
                format!("describes itself otherwise when started again: {first:?}, then {second:?}"),
            ));
        }
        Ok(child)
    }

    /// Asks for one tensor of every image, `width` numbers each. `upstream` has rows for the images, too.
    fn rows(&self, request: Request, images: &Tensor, upstream: Option<&Tensor>, width: &[usize]) -> Result<Vec<f32>> {
        let (channels, height, width_of_image) = self.description.input.shape;
        let n = match *images.dims() {
            [n, c, h, w] if (c, h, w) == self.description.input.shape => n,
            _ => {
                let expected = format!("(n, {channels}, {height}, {width_of_image})");
                return Err(Error::Shape { what: "the batch of images", actual: images.dims().to_vec(), expected });
            }
        };
        let image = channels * height * width_of_image;
        let each = (BYTES / (4 * image)).clamp(1, IMAGES);
        let (pixels, upstream) = (numbers(images)?, upstream.map(numbers).transpose()?);
        let piece = |at: usize| -> Result<Vec<f32>> {
            let (first, count) = (at * each, each.min(n - at * each));
            let shape = [count, channels, height, width_of_image];
            let mut parts = vec![Part { name: "images", shape: &shape, numbers: &pixels[first * image..][..count * image] }];
            let size = self.description.embedding_size;
            let upstream_shape = [count, size];
            if let Some(upstream) = &upstream {
                let numbers = &upstream[first * size..][..count * size];
                parts.push(Part { name: "upstream", shape: &upstream_shape, numbers });
            }
            let frame = frame::request(request, &parts)?;
            let shape = [&[count], width].concat();
            self.pool.lend(|| self.copy(), |child| self.numbers(child, request, frame, &shape))
        };
        Ok(in_parallel(n.div_ceil(each), self.pool.limit(), piece)?.concat())
    }

    /// The numbers of one answer.
    fn numbers(&self, child: &mut Child, request: Request, frame: Vec<u8>, shape: &[usize]) -> Result<Vec<f32>> {
        let body = answer(child, &self.command, &self.settings, request, frame, frame::most(shape.iter().product()))?;
        let wrong = |reason: String| refused(&self.command, format!("answers {} with {reason}", request.as_str()));
        let numbers = frame::tensor(&body, request.tensor(), shape).map_err(wrong)?;
        match numbers.iter().all(|x| x.is_finite()) {
            true => Ok(numbers),
            false => Err(wrong(format!(
                "numbers that are not finite (NaN or infinity): \"{}\" must be finite for pixels in [0, 1]",
                request.tensor()
            ))),
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.command)
    }
}

/// The model of a program: a white box if the program answers `gradient`.
pub struct ProgramModel {
    program: Arc<Program>,
    distance: Distance,
}

impl Embedder for ProgramModel {
    fn embed(&self, images: &Tensor) -> Result<Tensor> {
        let size = self.program.description.embedding_size;
        let embeddings = self.program.rows(Request::Embed, images, None, &[size])?;
        Ok(Tensor::from_vec(embeddings, (images.dims()[0], size), &Device::Cpu)?)
    }
    fn distance(&self) -> Distance {
        self.distance
    }
    fn input(&self) -> InputSpec {
        self.program.description.input
    }
    fn differentiable(&self) -> Option<&dyn Differentiable> {
        self.program.description.gradient.then_some(self as _)
    }
}

impl Differentiable for ProgramModel {
    fn input_gradient(&self, images: &Tensor, upstream: &mut Upstream<'_>) -> Result<Tensor> {
        let upstream = upstream(&self.embed(images)?)?;
        let (c, h, w) = self.program.description.input.shape;
        let gradient = self.program.rows(Request::Gradient, images, Some(&upstream), &[c, h, w])?;
        Ok(Tensor::from_vec(gradient, images.dims(), &Device::Cpu)?)
    }
}

/// Starts a copy and asks it for its description.
fn described(command: &CommandLine, settings: &Settings) -> Result<(Child, Description)> {
    let mut child = Child::start(command).map_err(|fault| told(command, None, settings, Request::Describe, fault))?;
    let frame = frame::request(Request::Describe, &[])?;
    let body = answer(&mut child, command, settings, Request::Describe, frame, frame::most(0))?;
    let description = frame::words(&body).and_then(|words| Description::parse(&words));
    let description = description.map_err(|reason| refused(command, format!("answers describe with {reason}")))?;
    Ok((child, description))
}

fn answer(
    child: &mut Child,
    command: &CommandLine,
    settings: &Settings,
    request: Request,
    frame: Vec<u8>,
    most: usize,
) -> Result<Vec<u8>> {
    let body = child.ask(frame, most, settings.timeout, settings.interrupted);
    let body = body.map_err(|fault| told(command, Some(child), settings, request, fault))?;
    // A description whose header cannot be read is reported by its reader.
    match frame::words(&body).ok().and_then(|mut words| words.remove("error")) {
        Some(reason) => Err(refused(command, format!("answers {} with an error: {}", request.as_str(), excerpt(&reason)))),
        None => Ok(body),
    }
}

/// The message about a fault, with what to do.
fn told(command: &CommandLine, child: Option<&Child>, settings: &Settings, request: Request, fault: Fault) -> Error {
    let request = request.as_str();
    let last_words = || child.map_or_else(String::new, Child::last_words);
    let to_stdout = |said: &str| {
        format!(
            "prints {said} to standard output, which is for answers alone: print to standard error, as in Python with sys.stdout = \
             sys.stderr"
        )
    };
    let reason = match fault {
        Fault::Interrupted => return Error::Interrupted,
        Fault::Start(error) => format!("cannot be started ({error}): name a program of this machine"),
        Fault::Slow(bytes) | Fault::Ended(bytes, _) | Fault::Length(bytes) if text(&bytes).is_some() => {
            to_stdout(&text(&bytes).unwrap_or_default())
        }
        Fault::Slow(bytes) => {
            let begun = if bytes.is_empty() { "no answer".to_owned() } else { format!("no more than {} bytes", bytes.len()) };
            let seconds = settings.timeout.as_secs_f64();
            format!("gave {begun} to {request} within {seconds} s: raise --model-timeout if it needs longer{}", last_words())
        }
        Fault::Ended(_, end) => format!("gave no answer to {request}: {end}{}", last_words()),
        Fault::Length(bytes) => {
            let length: String = bytes.iter().take(frame::LENGTH).map(|byte| format!(" {byte:02x}")).collect();
            format!(
                "answers {request} with a wrong length (bytes{length}): a frame begins with its length as 8 bytes, little-endian"
            )
        }
    };
    refused(command, reason)
}

fn refused(command: &CommandLine, reason: String) -> Error {
    Error::Refused(format!("{command} {reason}"))
}

/// The first line of the bytes as a quote, if they begin like text and not like a length.
fn text(bytes: &[u8]) -> Option<String> {
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let begins = bytes.iter().take(2).filter(|byte| is_text(byte)).count() == bytes.len().min(2) && !bytes.is_empty();
    begins.then(|| {
        let printed: Vec<u8> = bytes.iter().copied().take_while(|byte| is_text(byte) || *byte >= 0x80).collect();
        let printed = String::from_utf8_lossy(&printed);
        format!("\"{}\"", excerpt(printed.trim().lines().next().unwrap_or_default()))
    })
}

/// A text of a program in a message: one line, not too long.
fn excerpt(text: &str) -> String {
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// The results of `work` for `0..count`, in order, by at most `workers` threads; after an error none begins anew.
fn in_parallel<T: Send>(count: usize, workers: usize, work: impl Fn(usize) -> Result<T> + Sync) -> Result<Vec<T>> {
    if count <= 1 || workers <= 1 {
        return (0..count).map(work).collect();
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let worker = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= count {
                return;
            }
            let result = work(at);
            if result.is_err() {
                next.store(count, Ordering::Relaxed);
            }
            done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
        }
    };
    thread::scope(|scope| (0..workers.min(count)).for_each(|_| drop(scope.spawn(worker))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}
