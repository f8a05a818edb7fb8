//! HTTP server on this machine that answers as the hub, as another server, or as a broken one.
#![allow(dead_code, reason = "each test program uses a part of it")]

use sha1::{Digest as _, Sha1};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Request to the server.
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    /// First byte of the requested range.
    pub(crate) range: Option<usize>,
}

/// Response of the server.
#[derive(Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Number of bytes of the body after which the connection ends.
    pub(crate) cut: Option<usize>,
    /// Time for each byte of the body, sent one by one.
    pub(crate) pause: Option<Duration>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Responds with a file, or with the requested part.
    pub(crate) fn file(request: &Request, content: &[u8]) -> Self {
        match request.range {
            None => Self { status: 200, body: content.to_vec(), ..Self::default() },
            Some(first) if first >= content.len() => Self::status(416),
            Some(first) => {
                let range = format!("bytes {first}-{}/{}", content.len() - 1, content.len());
                Self { status: 206, body: content[first..].to_vec(), headers: vec![("Content-Range", range)], ..Self::default() }
            }
        }
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub(crate) fn cut(mut self, bytes: usize) -> Self {
        self.cut = Some(bytes);
        self
    }

    /// Sends fifty bytes per second.
    pub(crate) fn trickling(mut self) -> Self {
        self.pause = Some(Duration::from_millis(20));
        self
    }
}

type Answer = Box<dyn Fn(&Request) -> Reply + Send>;

/// Server that runs until the test program ends.
pub(crate) struct Server {
    pub(crate) url: String,
    answer: Arc<Mutex<Answer>>,
    log: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn new(answer: impl Fn(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer: Arc<Mutex<Answer>> = Arc::new(Mutex::new(Box::new(answer)));
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let server = Self { url, answer: answer.clone(), log: log.clone() };
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, log) = (answer.clone(), log.clone());
                // The client may have closed the connection already.
                thread::spawn(move || stream.and_then(|stream| serve(stream, &answer, &log)));
            }
        });
        server
    }

    /// Replaces the answers from now on.
    pub(crate) fn becomes(&self, answer: impl Fn(&Request) -> Reply + Send + 'static) {
        *self.answer.lock().unwrap() = Box::new(answer);
    }

    /// Requests since the last call, as `GET /path`, with `from N` for a range.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

fn serve(stream: TcpStream, answer: &Mutex<Answer>, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut request = Request { method, path, range: None };
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? <= 2 {
            break;
        }
        if let Some(range) = header.to_lowercase().strip_prefix("range: bytes=") {
            request.range = range.trim().trim_end_matches('-').parse().ok();
        }
    }
    let range = request.range.map(|first| format!(" from {first}")).unwrap_or_default();
    log.lock().unwrap().push(format!("{} {}{range}", request.method, request.path));
    let Reply { status, headers, body, cut, pause } = (answer.lock().unwrap())(&request);
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n", body.len())?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n")?;
    if request.method != "HEAD" {
        let body = &body[..cut.unwrap_or(body.len()).min(body.len())];
        for part in body.chunks(if pause.is_some() { 1 } else { body.len().max(1) }) {
            stream.write_all(part)?;
            thread::sleep(pause.unwrap_or_default());
        }
    }
    stream.flush()
}

/// Commit of all repositories.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}

pub(crate) fn git_blob(content: &[u8]) -> String {
    hex(&Sha1::digest([format!("blob {}\0", content.len()).as_bytes(), content].concat()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Files of repositories by path, such as `/timm/resnet18/model.safetensors`.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// Answers as huggingface.co: files of more than a hundred bytes (there ten megabytes) are on another server and have their
/// SHA-256 as a hash, others their Git hash.
pub(crate) fn hub(files: Files) -> impl Fn(&Request) -> Reply + Send + 'static {
    move |request| {
        if let Some(hash) = request.path.strip_prefix("/elsewhere/") {
            let content = files.values().find(|content| sha256(content) == hash).unwrap();
            return Reply::file(request, content).with("ETag", "\"of-the-store\"");
        }
        if let Some((repository, _)) = request.path.strip_prefix("/api").and_then(|path| path.split_once("/revision/")) {
            let names = files.keys().filter_map(|path| path.strip_prefix(repository)?.strip_prefix('/'));
            let names: Vec<String> = names.map(|name| format!("{{\"rfilename\": {name:?}}}")).collect();
            let body = format!("{{\"sha\": {COMMIT:?}, \"siblings\": [{}]}}", names.join(","));
            return Reply { status: 200, body: body.into_bytes(), ..Reply::default() };
        }
        let found = request.path.split_once("/resolve/").and_then(|(repository, rest)| {
            let (revision, name) = rest.split_once('/')?;
            [COMMIT, "main"].contains(&revision).then(|| files.get(&format!("{repository}/{name}")))?
        });
        match found {
            None => Reply::status(404),
            Some(content) if content.len() > 100 => Reply::status(302)
                .with("Location", format!("/elsewhere/{}", sha256(content)))
                .with("X-Repo-Commit", COMMIT)
                .with("X-Linked-Size", content.len().to_string())
                .with("X-Linked-Etag", format!("\"{}\"", sha256(content))),
            Some(content) => {
                Reply::file(request, content).with("X-Repo-Commit", COMMIT).with("ETag", format!("W/\"{}\"", git_blob(content)))
            }
        }
    }
}

/// Pseudorandom bytes.
pub(crate) fn noise(count: u32) -> Vec<u8> {
    (0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
