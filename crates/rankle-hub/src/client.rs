//! HTTP requests.

use crate::{Access, Error, Result};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

/// HTTP client without cookies, environment variables and credentials. It follows no redirect from `https` to `http`.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    /// Maximum time of one download; `None` for the default.
    pub(crate) max_time: Option<Duration>,
}

/// Headers of a file on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Content hash of the hub, or an identifier of this version on another server; `None` without either.
    pub(crate) etag: Option<String>,
    /// Commit of the repository, if the server is a hub.
    pub(crate) commit: Option<String>,
    /// Length of the file in bytes.
    pub(crate) bytes: Option<u64>,
}

const REDIRECTS: usize = 10;

/// Maximum length of an address.
const LONGEST_ADDRESS: usize = 8192;

/// Default time limit for a small text.
const TEXT_TIME: Duration = Duration::from_secs(300);

impl Client {
    /// Creates a client; [`Error::Address`] for an invalid address of a proxy.
    pub(crate) fn new(access: &Access) -> Result<Self> {
        let max_time = access.max_time.map(Duration::from_secs);
        Ok(Self { agent: config(access.proxy.as_deref())?.into(), max_time })
    }

    /// Requests a file from its byte `first` on and follows redirects. `time` limits the whole download.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Downgrade`], [`Error::Answer`] or [`Error::Unreachable`]. No status is an error.
    pub(crate) fn get(&self, url: &str, first: u64, time: Option<Duration>) -> Result<Response<Body>> {
        let ask = |url: &str| {
            let mut request = self.agent.get(url).config().timeout_global(time).build();
            if first > 0 {
                request = request.header("Range", format!("bytes={first}-"));
            }
            request.call()
        };
        Ok(follow(url, &ask, &mut |_| false)?.1)
    }

    /// Downloads a small text of at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::Status`] for a status of failure; [`Error::TooLarge`].
    pub(crate) fn text(&self, url: &str, limit: u64) -> Result<String> {
        let mut response = self.get(url, 0, Some(self.max_time.unwrap_or(TEXT_TIME)))?;
        check(url, response.status().as_u16())?;
        response.body_mut().with_config().limit(limit).read_to_string().map_err(|error| match error {
            ureq::Error::BodyExceedsLimit(_) => Error::TooLarge { what: url.into(), limit },
            error => refusal(url, error),
        })
    }

    /// Requests the headers of a file. The hub sends hash, commit and length together with a redirect to the server of the bytes:
    /// the first value of each counts.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::Status`] for a status of failure.
    pub(crate) fn head(&self, url: &str) -> Result<Head> {
        let mut found = Head { etag: None, commit: None, bytes: None };
        let mut take = |headers: &HeaderMap| {
            let linked = text(headers, "x-linked-etag");
            let is_linked = linked.is_some();
            found.commit = found.commit.take().or_else(|| text(headers, "x-repo-commit"));
            found.etag = found.etag.take().or(linked.map(unquoted));
            found.bytes = found.bytes.or_else(|| text(headers, "x-linked-size")?.parse().ok());
            is_linked
        };
        let ask = |url: &str| self.agent.head(url).config().timeout_global(self.max_time).build().call();
        let (here, response) = follow(url, &ask, &mut take)?;
        if !response.status().is_redirection() {
            check(&here, response.status().as_u16())?;
            let headers = response.headers();
            let version = || text(headers, "etag").or_else(|| text(headers, "last-modified")).map(unquoted);
            found.etag = found.etag.or_else(version);
            found.bytes = found.bytes.or_else(|| text(headers, "content-length")?.parse().ok());
        }
        Ok(found)
    }
}

/// Configuration of the client; [`Error::Address`] for an invalid address of a proxy.
fn config(proxy: Option<&str>) -> Result<Config> {
    let address = |url: &str| Error::Address { url: url.into(), reason: "it is no address of a proxy".into() };
    let proxy = proxy.map(|url| ureq::Proxy::new(url).map_err(|_| address(url))).transpose()?;
    let config = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        // Redirects are followed here, because the library would follow them from https to http.
        .max_redirects(0)
        // A range of a compressed body would be useless.
        .accept_encoding("identity")
        .user_agent(concat!("rankle/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)));
    Ok(config.build())
}

type Ask<'a> = &'a dyn Fn(&str) -> Result<Response<Body>, ureq::Error>;

/// Follows redirects until a response is not a redirect, or its headers are `enough`. Returns the last address and its response.
///
/// # Errors
/// [`Error::Downgrade`] for a redirect from https to http, [`Error::Answer`] for one without a valid target and for too many;
/// [`Error::Address`] or [`Error::Unreachable`] if there is no response.
fn follow(url: &str, ask: Ask<'_>, enough: &mut dyn FnMut(&HeaderMap) -> bool) -> Result<(String, Response<Body>)> {
    let mut here = url.to_owned();
    for _ in 0..=REDIRECTS {
        let response = ask(&here).map_err(|error| refusal(&here, error))?;
        let (status, headers) = (response.status(), response.headers());
        if enough(headers) || !status.is_redirection() {
            return Ok((here, response));
        }
        let there = text(headers, "location").and_then(|location| join(&here, &location));
        let Some(there) = there else {
            let found = format!("status {status}");
            return Err(Error::Answer { url: here, found, help: "where a redirect to an http or https address was expected" });
        };
        if is_encrypted(&here) && !is_encrypted(&there) {
            return Err(Error::Downgrade { from: here, to: there });
        }
        here = there;
    }
    Err(Error::Answer { url: url.into(), found: "too many redirects".into(), help: "name another address" })
}

fn is_encrypted(url: &str) -> bool {
    url.parse().is_ok_and(|url: Uri| url.scheme_str() == Some("https"))
}

/// Returns [`Error::Status`] for any status but success.
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

/// Removes the quotes and the weak mark `W/` of an ETag.
fn unquoted(etag: String) -> String {
    etag.trim_start_matches("W/").trim_matches('"').to_owned()
}

/// Target of a redirect from `here`, on another server or the same one; `None` if it is invalid.
fn join(here: &str, location: &str) -> Option<String> {
    let here: Uri = here.parse().ok()?;
    let (scheme, authority) = (here.scheme_str()?, here.authority()?);
    let there = match location {
        _ if location.starts_with("//") => format!("{scheme}:{location}"),
        _ if location.starts_with('/') => format!("{scheme}://{authority}{location}"),
        _ => location.to_owned(),
    };
    let parsed: Uri = there.parse().ok()?;
    (there.len() <= LONGEST_ADDRESS && matches!(parsed.scheme_str()?, "http" | "https")).then_some(there)
}

/// Converts the error of a request without a response.
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
    use crate::server::{self, Reply, Request, Server, hub};
    use crate::unwatched;
    use std::time::Instant;
    use ureq::unversioned::resolver::DefaultResolver;
    use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};

    /// Transport that claims to be encrypted.
    #[derive(Debug)]
    struct Claimed<T>(T);

    #[derive(Debug)]
    struct Claim;

    impl<T: Transport> Connector<T> for Claim {
        type Out = Claimed<T>;
        fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<T>) -> Result<Option<Claimed<T>>, ureq::Error> {
            Ok(chained.map(Claimed))
        }
    }

    impl<T: Transport> Transport for Claimed<T> {
        fn buffers(&mut self) -> &mut dyn Buffers {
            self.0.buffers()
        }
        fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
            self.0.transmit_output(amount, timeout)
        }
        fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
            self.0.await_input(timeout)
        }
        fn is_open(&mut self) -> bool {
            self.0.is_open()
        }
        fn is_tls(&self) -> bool {
            true
        }
    }

    /// Client that speaks https without encryption, as the servers of the tests do.
    fn trusting() -> Client {
        let connector = TcpConnector::default().chain(Claim);
        let agent = Agent::with_parts(config(None).unwrap(), connector, DefaultResolver::default());
        Client { agent, max_time: Some(Duration::from_secs(5)) }
    }

    fn encrypted(server: &Server) -> String {
        server.url.replace("http://", "https://")
    }

    /// Redirects every request to another server.
    fn elsewhere(url: String) -> impl Fn(&Request) -> Reply + Send + 'static {
        move |request| Reply::status(302).with("Location", format!("{url}{}", request.path))
    }

    #[test]
    fn encryption_is_never_given_up() {
        let file = |request: &Request| Reply::file(request, b"{}").with("ETag", "\"of-anybody\"");
        let (plain, first, second) = (Server::new(file), Server::new(file), Server::new(file));
        let client = trusting();
        // One server redirects directly to http, the other by way of an encrypted address.
        first.becomes(elsewhere(plain.url.clone()));
        second.becomes(elsewhere(encrypted(&first)));
        for from in [&first, &second].map(encrypted) {
            let (url, at) = (format!("{from}/x"), format!("{}/x", encrypted(&first)));
            for error in [
                client.head(&url).unwrap_err(),
                client.get(&url, 0, None).unwrap_err(),
                client.get(&url, 7, None).unwrap_err(),
                client.text(&url, 100).unwrap_err(),
            ] {
                let says = error.to_string();
                assert!(matches!(error, Error::Downgrade { .. }) && says.lines().count() == 1, "{says}");
                assert!(says.contains(&at) && says.contains(&format!("{}/x", plain.url)), "{says}");
            }
        }
        assert!(plain.asked().is_empty());
        // Redirects from http may lead to http or https.
        let third = Server::new(elsewhere(plain.url.clone()));
        assert_eq!(client.text(&format!("{}/x", third.url), 100).unwrap(), "{}");
        third.becomes(elsewhere(encrypted(&plain)));
        assert_eq!(client.head(&format!("{}/x", third.url)).unwrap().etag.as_deref(), Some("of-anybody"));
    }

    /// A hub that sends the hash itself and redirects to http for the bytes: the hash is used, the redirect is not followed.
    #[test]
    fn no_bytes_come_unencrypted_from_an_encrypted_hub() {
        let content = server::noise(1000);
        let plain = Server::new({
            let content = content.clone();
            move |request: &Request| Reply::file(request, &content)
        });
        let there = plain.url.clone();
        let whole = hub(server::Files::from([("/a/b/x.bin".into(), content.clone())]));
        let server = Server::new(move |request| {
            let mut reply = whole(request);
            for (name, value) in &mut reply.headers {
                if *name == "Location" {
                    *value = format!("{there}/x");
                }
            }
            reply
        });
        let (client, folder) = (trusting(), tempfile::tempdir().unwrap());
        let url = format!("{}/a/b/resolve/main/x.bin", encrypted(&server));
        assert_eq!(client.head(&url).unwrap().etag, Some(server::sha256(&content)));
        let wanted = crate::download::Wanted { url: &url, bytes: None, limit: 5000 };
        let error = crate::download::download(&client, wanted, &folder.path().join("x"), &mut unwatched()).unwrap_err();
        assert!(matches!(error, Error::Downgrade { .. }), "{error}");
        assert!(plain.asked().is_empty());
    }

    #[test]
    fn a_text_that_trickles_is_not_waited_for() {
        let server = Server::new(|_| Reply { status: 200, body: vec![b' '; 500], ..Reply::default() }.trickling());
        let client = Client { max_time: Some(Duration::from_secs(1)), ..trusting() };
        let start = Instant::now();
        let error = client.text(&server.url, 1000).unwrap_err();
        assert!(matches!(error, Error::Unreachable { .. }) && start.elapsed() < Duration::from_secs(10), "{error}");
    }

    #[test]
    fn redirects_lead_somewhere_or_nowhere() {
        let here = "https://hub:8/a/b";
        let long = format!("/{}", "x".repeat(LONGEST_ADDRESS));
        for (location, there) in [
            ("/c?d=1", Some("https://hub:8/c?d=1")),
            ("http://x/y", Some("http://x/y")),
            ("HTTPS://x/y", Some("HTTPS://x/y")),
            ("//x/y", Some("https://x/y")),
            ("c", None),
            ("", None),
            ("file:///etc", None),
            (&long, None),
        ] {
            assert_eq!(join(here, location).as_deref(), there, "{location}");
        }
        assert!(is_encrypted("HTTPS://x/y") && !is_encrypted("HTTP://x/y"));
        assert_eq!(unquoted("W/\"abc\"".into()), "abc");
    }

    #[test]
    fn addresses_that_cannot_be_asked_are_no_network_problem() {
        let client = Client::new(&Access::default()).unwrap();
        for url in ["", "nonsense", "ftp://x/y", "http://"] {
            let error = client.get(url, 0, None).unwrap_err();
            assert!(matches!(error, Error::Address { .. }), "{url}: {error}");
        }
        assert!(Client::new(&Access { proxy: Some("\u{1}".into()), ..Access::default() }).is_err());
    }
}
