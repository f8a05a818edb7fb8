//! Downloads that resume.

use crate::client::{self, Client};
use crate::pace::Pace;
use crate::{Digest, Error, Result, Watch, folder};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use ureq::Body;
use ureq::http::Response;

/// File to download.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) url: &'a str,
    /// Length in bytes; `None` if it is not known.
    pub(crate) bytes: Option<u64>,
    /// Maximum length in bytes.
    pub(crate) limit: u64,
}

/// Reason for an incomplete download.
enum Cut {
    /// Final: another attempt would fail, too.
    Refused(Error),
    /// Temporary: another attempt may succeed.
    Broken(Error),
}

impl From<Error> for Cut {
    fn from(error: Error) -> Self {
        match error {
            Error::Unreachable { .. } | Error::Status { status: 429 | 500.., .. } => Self::Broken(error),
            error => Self::Refused(error),
        }
    }
}

/// Number of broken connections in a row, without a new byte between them, after which the download fails.
const FAILURES: u32 = 4;

/// Downloads a file to `partial`, and continues at the end of an existing `partial`. If the connection breaks for good, the
/// received bytes stay there. The caller checks the content, and makes sure that no other process writes to `partial`.
///
/// # Errors
/// [`Error::Unreachable`], [`Error::Status`], [`Error::Answer`], [`Error::Downgrade`], [`Error::TooLarge`], [`Error::TooSlow`],
/// [`Error::File`], [`Error::Interrupted`].
pub(crate) fn download(client: &Client, wanted: Wanted<'_>, partial: &Path, watch: Watch<'_>) -> Result<()> {
    if let Some(folder) = partial.parent() {
        fs::create_dir_all(folder).map_err(Error::write(folder))?;
    }
    let mut file =
        File::options().create(true).truncate(false).read(true).write(true).open(partial).map_err(Error::write(partial))?;
    let mut have = file.seek(SeekFrom::End(0)).map_err(Error::write(partial))?;
    if wanted.bytes.is_some_and(|bytes| have > bytes) || have > wanted.limit {
        have = restart(&mut file, partial)?;
    }
    let pace = Pace::new(have, client.max_time);
    let mut failures = 0;
    while wanted.bytes != Some(have) || have == 0 {
        let before = have;
        match pass(client, wanted, &pace, &mut file, partial, &mut have, watch) {
            Ok(()) => break,
            Err(Cut::Refused(error)) => return Err(error),
            Err(Cut::Broken(error)) => {
                pace.check(wanted.url, have)?;
                failures = if have > before { 1 } else { failures + 1 };
                if failures >= FAILURES {
                    return Err(error);
                }
                watch.see(have, wanted.bytes)?;
                sleep(Duration::from_millis(20 << (2 * failures)));
            }
        }
    }
    file.sync_all().map_err(Error::write(partial))
}

/// Renames a downloaded file to `path` if it has the right hash, and removes it otherwise.
///
/// # Errors
/// [`Error::Hash`], [`Error::File`], [`Error::Interrupted`].
pub(crate) fn keep(partial: &Path, path: &Path, digest: &Digest, what: &str, watch: Watch<'_>) -> Result<()> {
    match digest.check(partial, what, watch) {
        Ok(()) => folder::rename(partial, path),
        Err(error @ Error::Hash { .. }) => {
            fs::remove_file(partial).map_err(Error::write(partial))?;
            Err(error)
        }
        Err(error) => Err(error),
    }
}

fn restart(file: &mut File, path: &Path) -> Result<u64> {
    file.set_len(0).and_then(|()| file.rewind()).map_err(Error::write(path))?;
    Ok(0)
}

/// Downloads over one connection. `have` is the number of bytes in the file.
fn pass(
    client: &Client,
    wanted: Wanted<'_>,
    pace: &Pace,
    file: &mut File,
    path: &Path,
    have: &mut u64,
    watch: Watch<'_>,
) -> Result<(), Cut> {
    let url = wanted.url;
    let response = client.get(url, *have, pace.left())?;
    match response.status().as_u16() {
        206 if starts_at(&response) == Some(*have) => {}
        // The server does not support ranges, or not this one: start again.
        206 | 416 if *have > 0 => {
            *have = restart(file, path)?;
            return Err(Cut::Broken(Error::Answer { url: url.into(), found: "another range".into(), help: "try again" }));
        }
        200 => *have = restart(file, path)?,
        status => {
            client::check(url, status)?;
            let found = format!("status {status}");
            return Err(Error::Answer { url: url.into(), found, help: "that is no file; name another address" }.into());
        }
    }
    let total = response.body().content_length().map(|rest| *have + rest);
    if let (Some(total), Some(bytes)) = (total, wanted.bytes)
        && total != bytes
    {
        return Err(length(url, total, bytes).into());
    }
    let limit = wanted.bytes.unwrap_or(wanted.limit);
    if total.is_some_and(|total| total > limit) {
        return Err(Error::TooLarge { what: url.into(), limit }.into());
    }
    let mut body = response.into_body().into_with_config().limit(u64::MAX).reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        watch.see(*have, total.or(wanted.bytes))?;
        pace.check(url, *have)?;
        let read = match body.read(&mut buffer) {
            Ok(read) => read,
            Err(reason) if reason.kind() == ErrorKind::Interrupted => continue,
            Err(reason) => return Err(Error::Unreachable { url: url.into(), reason: reason.to_string() }.into()),
        };
        if *have + read as u64 > limit {
            restart(file, path)?;
            return Err(Error::TooLarge { what: url.into(), limit }.into());
        }
        file.write_all(&buffer[..read]).map_err(Error::write(path))?;
        *have += read as u64;
        if read == 0 {
            return match total.or(wanted.bytes) {
                Some(total) if *have < total => {
                    let reason = format!("the connection ended after {have} of {total} bytes");
                    Err(Error::Unreachable { url: url.into(), reason }.into())
                }
                _ => Ok(()),
            };
        }
    }
}

/// Position of the first byte of a partial response.
fn starts_at(response: &Response<Body>) -> Option<u64> {
    let range = response.headers().get("content-range")?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()
}

fn length(url: &str, found: u64, expected: u64) -> Error {
    let found = format!("{found} bytes instead of {expected}");
    Error::Answer { url: url.into(), found, help: "it is another file; name another address" }
}
