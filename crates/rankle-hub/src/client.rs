//! Asking servers, over HTTP.

use crate::{Error, Result};
use std::time::Duration;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

/// A user of HTTP: no cookies, no environment, no credentials.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
}

/// What a server tells about a file without sending it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The hub's content hash where there is one, else what names this version of the file on its server, else nothing.
    pub(crate) etag: Option<String>,
    /// The commit, if a hub says so.
    pub(crate) commit: Option<String>,
    /// Its length, if that is told.
    pub(crate) bytes: Option<u64>,
}

/// So often a server may send us elsewhere.
const REDIRECTS: usize = 10;

impl Client {
    /// `proxy` is the address of an HTTP proxy.
    ///
    /// # Errors
    /// [`Error::Address`] for a proxy that cannot be.
    pub(crate) fn new(proxy: Option<&str>) -> Result<Self> {
        let address = |url: &str| Error::Address { url: url.into(), reason: "it is no address of a proxy".into() };
        let proxy = proxy.map(|url| ureq::Proxy::new(url).map_err(|_| address(url))).transpose()?;
        let config = Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            // A range of a compressed body would be of no use.
            .accept_encoding("identity")
            .user_agent(concat!("rankle/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            .timeout_per_read(Some(Duration::from_secs(60)))
            .build();
        Ok(Self { agent: config.into() })
    }

    /// Asks for a file from its byte `first` on, wherever the server sends us.
    ///
    /// # Errors
    /// [`Error::Address`] or [`Error::Unreachable`]; every status is an answer.
    pub(crate) fn get(&self, url: &str, first: u64) -> Result<Response<Body>> {
        let mut request = self.agent.get(url).config().max_redirects(REDIRECTS as u32).build();
        if first > 0 {
            request = request.header("Range", format!("bytes={first}-"));
        }
        request.call().map_err(|error| refusal(url, error))
    }

    /// A small text, at most `limit` bytes of it.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::Status`] for what is not there.
    pub(crate) fn text(&self, url: &str, limit: u64) -> Result<String> {
        let mut response = self.get(url, 0)?;
        check(url, response.status().as_u16())?;
        response.body_mut().with_config().limit(limit).read_to_string().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Error::TooLarge { what: url.into(), limit },
            error => refusal(url, error),
        })
    }

    /// What is to be known of a file before it is asked for. The hub tells hash, commit and length, and then sends us to where the
    /// bytes are: what is said first counts.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::Status`] for what is not there, [`Error::Answer`] for a way that leads nowhere.
    pub(crate) fn head(&self, url: &str) -> Result<Head> {
        let mut here = url.to_owned();
        let mut found = Head { etag: None, commit: None, bytes: None };
        for _ in 0..=REDIRECTS {
            let request = self.agent.head(&here).config().max_redirects(0).build();
            let response = request.call().map_err(|error| refusal(&here, error))?;
            let (status, headers) = (response.status(), response.headers());
            let linked = text(headers, "x-linked-etag").is_some();
            found.commit = found.commit.or_else(|| text(headers, "x-repo-commit"));
            found.etag = found.etag.or_else(|| text(headers, "x-linked-etag").map(unquoted));
            found.bytes = found.bytes.or_else(|| text(headers, "x-linked-size")?.parse().ok());
            if status.is_redirection() && !linked {
                let location = text(headers, "location").and_then(|location| join(&here, &location));
                let nowhere = || Error::Answer {
                    url: here.clone(),
                    found: format!("status {status}"),
                    help: "but not with a place that can be gone to",
                };
                here = location.ok_or_else(nowhere)?;
                continue;
            }
            if !status.is_redirection() {
                check(&here, status.as_u16())?;
                found.etag =
                    found.etag.or_else(|| text(headers, "etag").or_else(|| text(headers, "last-modified")).map(unquoted));
                found.bytes = found.bytes.or_else(|| text(headers, "content-length")?.parse().ok());
            }
            return Ok(found);
        }
        Err(Error::Answer { url: url.into(), found: "one redirect after the other".into(), help: "name another address" })
    }
}

/// # Errors
/// [`Error::Status`] for everything but success.
pub(crate) fn check(url: &str, status: u16) -> Result<()> {
    let help = match status {
        200..300 => return Ok(()),
        401 | 403 => "it is not public, needs the consent of its owner, or does not exist",
        404 | 410 => "there is no such file, repository or revision; check the name",
        429 => "too many requests, try again later",
        500.. => "the server has a problem, try again later",
        _ => "that is not understood, name another address",
    };
    Err(Error::Status { url: url.into(), status, help })
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

/// An etag without its marks.
fn unquoted(etag: String) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Where a redirect leads, seen from `here`: to another server, or to another path on this one.
fn join(here: &str, location: &str) -> Option<String> {
    if location.starts_with("http://") || location.starts_with("https://") {
        return Some(location.to_owned());
    }
    let here: Uri = here.parse().ok()?;
    let (scheme, authority) = (here.scheme_str()?, here.authority()?);
    location.starts_with('/').then(|| format!("{scheme}://{authority}{location}"))
}

/// The reason why there is no answer.
pub(crate) fn refusal(url: &str, error: ureq::Error) -> Error {
    let reason = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    match error {
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_) => {
            Error::Address { url: url.into(), reason }
        }
        ureq::Error::TlsRequired => {
            Error::Address { url: url.into(), reason: "this program was built for plain http only".into() }
        }
        _ => Error::Unreachable { url: url.into(), reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_somewhere_or_nowhere() {
        let here = "https://hub:8/a/b";
        for (location, there) in [
            ("/c?d=1", Some("https://hub:8/c?d=1")),
            ("http://x/y", Some("http://x/y")),
            ("c", None),
            ("", None),
            ("file:///etc", None),
        ] {
            assert_eq!(join(here, location).as_deref(), there, "{location}");
        }
        assert_eq!(unquoted("W/\"abc\"".into()), "abc");
    }

    #[test]
    fn addresses_that_cannot_be_asked_are_no_network_problem() {
        let client = Client::new(None).unwrap();
        for url in ["", "nonsense", "ftp://x/y", "http://"] {
            let error = client.get(url, 0).unwrap_err();
            assert!(matches!(error, Error::Address { .. }), "{url}: {error}");
        }
        assert!(Client::new(Some("\u{1}")).is_err());
    }
}
