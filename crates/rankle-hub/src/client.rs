//! Asking servers, over HTTP.

use crate::{Access, Error, Result};
use std::time::Duration;
use ureq::config::Config;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::{Agent, Body};

/// A user of HTTP: no cookies, no environment, no credentials, and no way from an encrypted address to another one.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    /// The longest that one download may take, where that was said.
    pub(crate) max_time: Option<Duration>,
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

/// No address of a server is longer.
const LONGEST_ADDRESS: usize = 8192;

/// A small text has come by then.
const TEXT_TIME: Duration = Duration::from_secs(300);

impl Client {
    /// # Errors
    /// [`Error::Address`] for a proxy that cannot be.
    pub(crate) fn new(access: &Access) -> Result<Self> {
        let max_time = access.max_time.map(Duration::from_secs);
        Ok(Self { agent: config(access.proxy.as_deref())?.into(), max_time })
    }

    /// Asks for a file from its byte `first` on, wherever the server sends us; all of it must come in time, where that is limited.
    ///
    /// # Errors
    /// [`Error::Address`], [`Error::Downgrade`], [`Error::Answer`] or [`Error::Unreachable`]; every other status is an answer.
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

    /// A small text, at most `limit` bytes of it.
    ///
    /// # Errors
    /// As [`Client::get`]; [`Error::Status`] for what is not there.
    pub(crate) fn text(&self, url: &str, limit: u64) -> Result<String> {
        let mut response = self.get(url, 0, Some(self.max_time.unwrap_or(TEXT_TIME)))?;
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
    /// As [`Client::get`]; [`Error::Status`] for what is not there.
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

/// `proxy` is the address of an HTTP proxy.
///
/// # Errors
/// [`Error::Address`] for a proxy that cannot be.
fn config(proxy: Option<&str>) -> Result<Config> {
    let address = |url: &str| Error::Address { url: url.into(), reason: "it is no address of a proxy".into() };
    let proxy = proxy.map(|url| ureq::Proxy::new(url).map_err(|_| address(url))).transpose()?;
    let config = Agent::config_builder()
        .proxy(proxy)
        .http_status_as_error(false)
        // The library would go from https to http.
        .max_redirects(0)
        // A range of a compressed body would be of no use.
        .accept_encoding("identity")
        .user_agent(concat!("rankle/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(Duration::from_secs(30)))
        .timeout_recv_response(Some(Duration::from_secs(60)))
        .timeout_per_read(Some(Duration::from_secs(60)));
    Ok(config.build())
}

/// One request.
type Ask<'a> = &'a dyn Fn(&str) -> Result<Response<Body>, ureq::Error>;

/// Asks wherever the servers send us, until one sends us no further or its headers are `enough`. Returns who answered, and what.
///
/// # Errors
/// [`Error::Downgrade`] for a way from https to http, [`Error::Answer`] for one that leads nowhere, and why there is no answer.
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
            return Err(Error::Answer { url: here, found, help: "but not with a place that can be gone to" });
        };
        if is_encrypted(&here) && !is_encrypted(&there) {
            return Err(Error::Downgrade { from: here, to: there });
        }
        here = there;
    }
    Err(Error::Answer { url: url.into(), found: "one redirect after the other".into(), help: "name another address" })
}

fn is_encrypted(url: &str) -> bool {
    url.parse().is_ok_and(|url: Uri| url.scheme_str() == Some("https"))
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
    use crate::server::{self, Reply, Request, Server, hub};
    use crate::unwatched;
    use std::time::Instant;
    use ureq::unversioned::resolver::DefaultResolver;
    use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, TcpConnector, Transport};

    /// Says of any connection that it is encrypted.
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

    /// A client for which https is what is spoken without encryption, as the servers here do.
    fn trusting() -> Client {
        let connector = TcpConnector::default().chain(Claim);
        let agent = Agent::with_parts(config(None).unwrap(), connector, DefaultResolver::default());
        Client { agent, max_time: Some(Duration::from_secs(5)) }
    }

    fn encrypted(server: &Server) -> String {
        server.url.replace("http://", "https://")
    }

    /// Whatever is asked, the answer is elsewhere.
    fn elsewhere(url: String) -> impl Fn(&Request) -> Reply + Send + 'static {
        move |request| Reply::status(302).with("Location", format!("{url}{}", request.path))
    }

    #[test]
    fn encryption_is_never_given_up() {
        let file = |request: &Request| Reply::file(request, b"{}").with("ETag", "\"of-anybody\"");
        let (plain, first, second) = (Server::new(file), Server::new(file), Server::new(file));
        let client = trusting();
        // Straight there, and by a detour that is encrypted.
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
        // What was never encrypted may stay so or become it.
        let third = Server::new(elsewhere(plain.url.clone()));
        assert_eq!(client.text(&format!("{}/x", third.url), 100).unwrap(), "{}");
        third.becomes(elsewhere(encrypted(&plain)));
        assert_eq!(client.head(&format!("{}/x", third.url)).unwrap().etag.as_deref(), Some("of-anybody"));
    }

    /// A hub that names the hash itself and the place of the bytes elsewhere: the hash is taken, the place is not.
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
