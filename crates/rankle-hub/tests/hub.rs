//! Downloads from the hub and from other servers, played by a server on this machine.

mod server;

use rankle_hub::{Access, Download, Error, Home, Hub, Kind, Repository, telling, unwatched};
use server::{COMMIT, Files, Reply, Server, hub, noise, sha256};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const FILE: &str = "model.safetensors";

/// Hub with one model of 20,000 bytes and its card, and an empty cache.
struct World {
    server: Server,
    cache: TempDir,
    content: Vec<u8>,
}

impl World {
    fn new() -> Self {
        let content = noise(20_000);
        Self { server: Server::new(hub(files(&content))), cache: tempfile::tempdir().unwrap(), content }
    }

    fn access(&self) -> Access {
        let hub_cache = Some(self.cache.path().to_owned());
        Access { endpoint: Some(self.server.url.clone()), hub_cache, ..Access::default() }
    }

    fn hub(&self, offline: bool) -> Hub {
        Hub::new(&Access { offline, ..self.access() }).unwrap()
    }

    fn get(&self) -> Result<PathBuf, Error> {
        self.hub(false).file(&model("main"), FILE, None, &mut unwatched())
    }

    fn message(&self) -> String {
        self.get().unwrap_err().to_string()
    }

    fn blobs(&self) -> Vec<String> {
        let folder = self.cache.path().join("models--timm--resnet18/blobs");
        let entries = fs::read_dir(folder).into_iter().flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn files(content: &[u8]) -> Files {
    let card = b"# A model".to_vec();
    Files::from([("/timm/resnet18/model.safetensors".into(), content.to_vec()), ("/timm/resnet18/README.md".into(), card)])
}

fn model(revision: &str) -> Repository {
    Repository::new(Kind::Model, "timm/resnet18", revision).unwrap()
}

#[test]
fn a_file_comes_once_and_lies_where_other_programs_look() {
    let world = World::new();
    let path = world.get().unwrap();
    assert_eq!(fs::read(&path).unwrap(), world.content);
    let snapshot = format!("models--timm--resnet18/snapshots/{COMMIT}");
    assert_eq!(path, world.cache.path().join(&snapshot).join(FILE));
    assert_eq!(fs::read_to_string(world.cache.path().join("models--timm--resnet18/refs/main")).unwrap(), COMMIT);
    assert_eq!(world.blobs(), [sha256(&world.content)]);
    let resolve = "/timm/resnet18/resolve/main/model.safetensors";
    let elsewhere = format!("GET /elsewhere/{}", sha256(&world.content));
    assert_eq!(world.server.asked(), [format!("HEAD {resolve}"), format!("GET {resolve}"), elsewhere]);

    assert_eq!(world.get().unwrap(), path);
    assert_eq!(world.server.asked(), [format!("HEAD {resolve}")]);
    // No request is sent for a commit, which never changes, and none in offline mode.
    for (revision, offline) in [(COMMIT, false), (COMMIT, true), ("main", true)] {
        assert_eq!(world.hub(offline).file(&model(revision), FILE, None, &mut unwatched()).unwrap(), path);
    }
    assert!(world.server.asked().is_empty());
}

#[cfg(unix)]
#[test]
fn the_cache_may_be_moved() {
    let world = World::new();
    let path = world.get().unwrap();
    assert!(fs::read_link(&path).unwrap().is_relative());
    let moved = tempfile::tempdir().unwrap();
    fs::rename(world.cache.path().join("models--timm--resnet18"), moved.path().join("models--timm--resnet18")).unwrap();
    let path = moved.path().join(path.strip_prefix(world.cache.path()).unwrap());
    assert_eq!(fs::read(path).unwrap(), world.content);
}

#[test]
fn small_files_are_known_by_their_git_hash() {
    let world = World::new();
    let card = world.hub(false).file(&model("main"), "README.md", None, &mut unwatched()).unwrap();
    assert_eq!(fs::read(card).unwrap(), b"# A model");
    assert_eq!(world.blobs(), [server::git_blob(b"# A model")]);
}

/// As the hub's Python library keeps it.
#[test]
fn the_cache_keeps_that_a_file_does_not_exist() {
    let world = World::new();
    let ask = |offline| world.hub(offline).file_if_there(&model("main"), "none.json", &mut unwatched());
    let path = world.get().unwrap();
    assert!(matches!(ask(true), Err(Error::Offline { .. })));
    assert_eq!((ask(false).unwrap(), ask(true).unwrap()), (None, None));
    assert!(world.cache.path().join(format!("models--timm--resnet18/.no_exist/{COMMIT}/none.json")).is_file());
    let there = world.hub(true).file_if_there(&model("main"), FILE, &mut unwatched());
    assert_eq!(there.unwrap(), Some(path));
}

#[test]
fn lists_of_files_online_and_offline() {
    let world = World::new();
    let mut all = files(&world.content);
    all.insert("/datasets/a/b/deep/train-0.parquet".into(), noise(200));
    all.insert("/datasets/a/b/../../escape".into(), noise(200));
    world.server.becomes(hub(all));
    let set = Repository::new(Kind::Dataset, "a/b", "main").unwrap();
    assert_eq!(world.hub(false).files(&set).unwrap(), ["deep/train-0.parquet"]);
    let says = world.hub(true).files(&set).unwrap_err().to_string();
    assert!(says.starts_with("a/b is not in the cache at ") && says.contains("--offline"), "{says}");
    world.hub(false).file(&set, "deep/train-0.parquet", None, &mut unwatched()).unwrap();
    assert_eq!(world.hub(true).files(&set).unwrap(), ["deep/train-0.parquet"]);
    world.server.becomes(|_| Reply { status: 200, body: b"<html>".to_vec(), ..Reply::default() });
    assert!(matches!(world.hub(false).files(&set), Err(Error::Answer { .. })));
}

#[test]
fn a_cut_connection_goes_on_where_it_was() {
    let world = World::new();
    let content = world.content.clone();
    let whole = hub(files(&content));
    world.server.becomes(move |request| match request.path.starts_with("/elsewhere") {
        true => whole(request).cut(6_000),
        false => whole(request),
    });
    assert_eq!(fs::read(world.get().unwrap()).unwrap(), content);
    let asked = world.server.asked();
    let parts: Vec<&str> = asked.iter().filter_map(|line| line.split_once(" from ")).map(|parts| parts.1).collect();
    // Each range is requested from the hub, which redirects to the server of the bytes.
    assert_eq!(parts, ["6000", "6000", "12000", "12000", "18000", "18000"]);
}

#[test]
fn what_came_before_a_break_is_kept_for_the_next_time() {
    let world = World::new();
    let whole = hub(files(&world.content));
    world.server.becomes(move |request| match (request.path.starts_with("/elsewhere"), request.range) {
        (true, None) => whole(request).cut(7_000),
        (true, Some(_)) => Reply::status(503),
        _ => whole(request),
    });
    let says = world.message();
    assert!(says.contains("status 503: the server has a problem"), "{says}");
    assert_eq!(world.blobs(), [format!("{}.incomplete", sha256(&world.content))]);
    world.server.asked();
    world.server.becomes(hub(files(&world.content)));
    assert_eq!(fs::read(world.get().unwrap()).unwrap(), world.content);
    assert!(world.server.asked().iter().all(|line| line.starts_with("HEAD") || line.ends_with("from 7000")));
    assert_eq!(world.blobs(), [sha256(&world.content)]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let world = World::new();
    let whole = hub(files(&world.content));
    let content = world.content.clone();
    world.server.becomes(move |request| match (request.path.starts_with("/elsewhere"), request.range) {
        (true, None) => whole(request).cut(7_000),
        (true, Some(_)) => Reply { status: 200, body: content.clone(), ..Reply::default() },
        _ => whole(request),
    });
    assert_eq!(fs::read(world.get().unwrap()).unwrap(), world.content);
}

#[test]
fn another_content_is_refused_and_not_kept() {
    let world = World::new();
    let whole = hub(files(&world.content));
    world.server.becomes(move |request| {
        let mut reply = whole(request);
        if let Some(byte) = reply.body.get_mut(77) {
            *byte ^= 1;
        }
        reply
    });
    let says = world.message();
    assert!(says.contains("has SHA-256") && says.contains(&sha256(&world.content)), "{says}");
    assert!(world.blobs().is_empty());

    // A hash given by the caller is checked as well as the hub's.
    let world = World::new();
    let other = "0".repeat(64);
    let error = world.hub(false).file(&model("main"), FILE, Some(&other), &mut unwatched()).unwrap_err();
    assert!(matches!(error, Error::Hash { .. }) && error.to_string().contains(&other));
    let known = sha256(&world.content);
    world.hub(false).file(&model("main"), FILE, Some(&known), &mut unwatched()).unwrap();
}

#[test]
fn a_damaged_cache_is_noticed() {
    let world = World::new();
    let path = world.get().unwrap();
    fs::write(&path, "damaged").unwrap();
    let error = world.hub(true).file(&model("main"), FILE, None, &mut unwatched()).unwrap_err();
    assert!(matches!(error, Error::Hash { .. }), "{error}");
    assert_eq!(fs::read(world.get().unwrap()).unwrap(), world.content);
}

#[test]
fn refusals_are_one_line() {
    let world = World::new();
    let says = world.hub(false).file(&model("main"), "other.bin", None, &mut unwatched()).unwrap_err().to_string();
    assert!(says.contains("/timm/resnet18/resolve/main/other.bin answers with status 404: there is no such file"), "{says}");
    let offline = world.hub(true).file(&model("main"), FILE, None, &mut unwatched()).unwrap_err().to_string();
    assert!(offline.starts_with("model.safetensors of timm/resnet18 is not in the cache at "), "{offline}");
    for file in ["../x", "/etc/passwd", "a//b", "a?b", ""] {
        assert!(matches!(world.hub(false).file(&model("main"), file, None, &mut unwatched()), Err(Error::Name { .. })), "{file}");
    }
    for (status, says) in
        [(401, "not public"), (403, "not public"), (429, "too many"), (418, "not understood"), (503, "try again")]
    {
        world.server.becomes(move |_| Reply::status(status));
        assert!(world.message().contains(&format!("status {status}: ")) && world.message().contains(says), "{status}");
    }
    world.server.becomes(|_| Reply::status(302).with("Location", "/again"));
    assert!(world.message().contains("too many redirects"));
    world.server.becomes(|_| Reply::status(302));
    assert!(world.message().contains("a redirect to an http or https address was expected"));

    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let hub_cache = Some(world.cache.path().to_owned());
    let access = Access { endpoint: Some(nobody.clone()), hub_cache, ..Access::default() };
    let says = Hub::new(&access).unwrap().file(&model("main"), FILE, None, &mut unwatched()).unwrap_err().to_string();
    assert!(says.starts_with(&nobody) && says.contains("cannot be reached") && says.lines().count() == 1, "{says}");
    assert!(Hub::new(&Access { endpoint: Some("huggingface.co".into()), ..access }).is_err());
    assert!(world.blobs().is_empty());
}

#[test]
fn what_a_server_says_never_becomes_a_path_unseen() {
    let world = World::new();
    for (commit, etag) in [("../../x", "a".repeat(64)), (COMMIT, "../../evil".into()), (COMMIT, String::new())] {
        world.server.becomes(move |_| {
            Reply { status: 200, body: noise(10), ..Reply::default() }.with("X-Repo-Commit", commit).with("ETag", etag.clone())
        });
        assert!(world.message().ends_with("is that a hub?"), "{}", world.message());
    }
    assert_eq!(fs::read_dir(world.cache.path()).unwrap().count(), 0);
}

#[test]
fn more_or_less_than_was_announced_is_refused() {
    for length in [19_999, 20_001] {
        let world = World::new();
        let whole = hub(files(&world.content));
        world.server.becomes(move |request| match request.path.starts_with("/elsewhere") {
            true => Reply { status: 200, body: noise(length), ..Reply::default() },
            false => whole(request),
        });
        assert!(world.message().contains(&format!("{length} bytes instead of 20000")), "{}", world.message());
    }
}

#[test]
fn it_ends_when_it_is_asked_to_and_goes_on_later() {
    let world = World::new();
    let whole = hub(files(&world.content));
    world.server.becomes(move |request| match request.path.starts_with("/elsewhere") {
        true => whole(request).cut(9_000),
        false => whole(request),
    });
    let mut until = |done: u64, _| if done >= 9_000 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = world.hub(false).file(&model("main"), FILE, None, &mut until).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(fs::read(world.get().unwrap()).unwrap(), world.content);
}

#[test]
fn the_second_waits_until_the_file_has_its_name() {
    let world = World::new();
    let (said, heard) = mpsc::channel();
    thread::scope(|scope| {
        let mut second = None;
        // Progress without a count is the computation of the hash, when the file is complete but has not its final name.
        let mut first = |done: u64, total: Option<u64>| {
            if (done, total) == (0, None) && second.is_none() {
                let (world, said) = (&world, said.clone());
                second = Some(scope.spawn(move || {
                    let mut watch = telling(unwatched(), |line: &str| said.send(line.to_owned()).unwrap());
                    world.hub(false).file(&model("main"), FILE, None, &mut watch)
                }));
                let line = heard.recv_timeout(Duration::from_secs(20)).unwrap();
                let holder = std::process::id();
                assert_eq!(line, format!("waiting for process {holder}, which is fetching {FILE} of timm/resnet18"));
            }
            ControlFlow::Continue(())
        };
        let path = world.hub(false).file(&model("main"), FILE, None, &mut first).unwrap();
        assert_eq!(second.unwrap().join().unwrap().unwrap(), path);
        assert_eq!(fs::read(path).unwrap(), world.content);
    });
    assert_eq!(world.server.asked().iter().filter(|line| line.starts_with("GET /elsewhere")).count(), 1);
    assert_eq!(world.blobs(), [sha256(&world.content)]);
    let locks = world.cache.path().join(".locks/models--timm--resnet18");
    assert_eq!(fs::read_dir(locks).unwrap().count(), 0);
}

#[test]
fn who_waits_may_leave() {
    let world = World::new();
    let folder = world.cache.path().join(".locks/models--timm--resnet18");
    fs::create_dir_all(&folder).unwrap();
    // The lock of the hub's Python library.
    let lock = fs::File::create(folder.join(format!("{}.lock", sha256(&world.content)))).unwrap();
    lock.lock().unwrap();
    let mut looks = 0;
    let mut leaving = |_, _| {
        looks += 1;
        if looks > 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let error = world.hub(false).file(&model("main"), FILE, None, &mut leaving).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert!(world.blobs().is_empty());
    drop(lock);
    world.get().unwrap();
}

/// Client that allows one second for a download.
fn hasty(world: &World) -> Hub {
    Hub::new(&Access { max_time: Some(1), ..world.access() }).unwrap()
}

fn too_slow(outcome: Result<PathBuf, Error>) {
    let error = outcome.unwrap_err();
    let says = error.to_string();
    assert!(matches!(error, Error::TooSlow { .. }) && says.lines().count() == 1, "{says}");
    assert!(says.contains("too slow: what came so far is kept") && says.contains("--max-time allows more"), "{says}");
}

#[test]
fn a_download_that_trickles_ends_and_goes_on_later() {
    let world = World::new();
    let whole = hub(files(&world.content));
    world.server.becomes(move |request| match request.path.starts_with("/elsewhere") {
        true => whole(request).trickling(),
        false => whole(request),
    });
    let start = Instant::now();
    too_slow(hasty(&world).file(&model("main"), FILE, None, &mut unwatched()));
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    world.server.asked();
    world.server.becomes(hub(files(&world.content)));
    assert_eq!(fs::read(world.get().unwrap()).unwrap(), world.content);
    assert!(world.server.asked().iter().any(|line| line.starts_with("GET /elsewhere") && line.contains(" from ")));
}

#[test]
fn a_server_that_starts_again_and_again_is_left() {
    let world = World::new();
    let whole = hub(files(&world.content));
    world.server.becomes(move |request| match (request.path.starts_with("/elsewhere"), request.range) {
        (true, None) => whole(request).cut(1_000),
        (true, Some(_)) => Reply::status(416),
        _ => whole(request),
    });
    too_slow(hasty(&world).file(&model("main"), FILE, None, &mut unwatched()));
}

fn home<'a>(url: &'a str, sha256: Option<&'a str>) -> Home<'a> {
    Home { url, bytes: None, sha256, limit: 50_000 }
}

fn fetch(home: Home<'_>, folder: &Path) -> Result<Download, Error> {
    home.download(folder, &Access::default(), &mut unwatched())
}

#[test]
fn archives_come_from_any_home() {
    let (content, folder) = (noise(30_000), tempfile::tempdir().unwrap());
    let body = content.clone();
    let server = Server::new(move |request| match request.method.as_str() {
        "HEAD" => Reply::status(405),
        _ => Reply::file(request, &body).cut(20_000),
    });
    let url = format!("{}/set.zip", server.url);
    let Download { path, sha256: hash, .. } = fetch(home(&url, None), folder.path()).unwrap();
    assert_eq!((fs::read(&path).unwrap(), hash), (content.clone(), sha256(&content)));
    // Without an identifier of the version, the file is downloaded again.
    server.asked();
    fetch(home(&url, None), folder.path()).unwrap();
    assert_eq!(server.asked().len(), 3);
    fs::remove_file(path).unwrap();

    let wrong = "1".repeat(64);
    assert!(matches!(fetch(home(&url, Some(&wrong)), folder.path()), Err(Error::Hash { .. })));
    let small = Home { limit: 29_999, ..home(&url, None) };
    assert!(matches!(fetch(small, folder.path()), Err(Error::TooLarge { limit: 29_999, .. })));
    let longer = Home { bytes: Some(30_001), ..home(&url, None) };
    assert!(fetch(longer, folder.path()).unwrap_err().to_string().contains("30000 bytes instead of 30001"));
}

#[test]
fn a_server_that_never_ends_is_left() {
    let folder = tempfile::tempdir().unwrap();
    // Without a length, the file ends with the connection.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/endless", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
            while stream.write_all(&[0; 4096]).is_ok() {}
        }
    });
    let error = fetch(home(&url, None), folder.path()).unwrap_err();
    assert!(matches!(error, Error::TooLarge { limit: 50_000, .. }), "{error}");
}

#[test]
fn parts_of_two_versions_are_never_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let version = |content: Vec<u8>, etag: &'static str, broken: bool| {
        move |request: &server::Request| match (broken, request.range) {
            (true, Some(_)) => Reply::status(500),
            (true, None) => Reply::file(request, &content).with("ETag", etag).cut(10_000),
            (false, _) => Reply::file(request, &content).with("ETag", etag),
        }
    };
    let server = Server::new(version(noise(30_000), "\"one\"", true));
    let url = format!("{}/set.tgz", server.url);
    assert!(matches!(fetch(home(&url, None), folder.path()), Err(Error::Status { status: 500, .. })));
    let other: Vec<u8> = noise(30_000).into_iter().rev().collect();
    server.becomes(version(other.clone(), "\"two\"", false));
    assert_eq!(fetch(home(&url, None), folder.path()).unwrap().sha256, sha256(&other));
    server.asked();
    // The first third of the first version is still there.
    server.becomes(version(noise(30_000), "\"one\"", false));
    assert_eq!(fetch(home(&url, None), folder.path()).unwrap().sha256, sha256(&noise(30_000)));
    assert_eq!(server.asked(), ["HEAD /set.tgz", "GET /set.tgz from 10000"]);
}

#[test]
fn an_archive_is_downloaded_once_by_two() {
    let (content, folder) = (noise(30_000), tempfile::tempdir().unwrap());
    let body = content.clone();
    let server = Server::new(move |request| Reply::file(request, &body));
    let url = format!("{}/set.zip", server.url);
    let (said, heard) = mpsc::channel();
    thread::scope(|scope| {
        let first = fetch(home(&url, None), folder.path()).unwrap();
        let second = scope.spawn(|| {
            let mut watch = telling(unwatched(), move |line: &str| said.send(line.to_owned()).unwrap());
            home(&url, None).download(folder.path(), &Access::default(), &mut watch)
        });
        // While the first has the file, the second waits.
        let line = heard.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(line, format!("waiting for process {}, which is fetching {url}", std::process::id()));
        let path = first.path.clone();
        drop(first);
        let second = second.join().unwrap().unwrap();
        assert_eq!((&second.path, &second.sha256), (&path, &sha256(&content)));
    });
    assert_eq!(server.asked().iter().filter(|line| line.starts_with("GET")).count(), 1);

    // A file left in the folder is used if its hash is known and right.
    let hash = sha256(&content);
    let known = home(&url, Some(&hash));
    let path = fetch(known, folder.path()).unwrap().path;
    server.asked();
    fetch(known, folder.path()).unwrap();
    assert_eq!(server.asked(), ["HEAD /set.zip"]);
    fs::write(&path, "damaged").unwrap();
    fetch(known, folder.path()).unwrap();
    assert_eq!(fs::read(path).unwrap(), content);
}
