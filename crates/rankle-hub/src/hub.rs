//! Files from the Hugging Face hub, in the cache shared with other programs.

use crate::client::{Client, Head};
use crate::download::{Wanted, download, keep};
use crate::folder;
use crate::reference::{is_commit, is_path};
use crate::{Access, Digest, Error, Kind, Lock, Repository, Result, Watch};
use hf_hub::{Cache, Repo, RepoType};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const ENDPOINT: &str = "https://huggingface.co";

/// Maximum size of a file, in bytes.
const LARGEST_FILE: u64 = 64 << 30;

/// Maximum size of a repository's list of files, in bytes.
const LARGEST_LIST: u64 = 32 << 20;

/// Client of the hub and its cache. Only public repositories: no token is read.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    endpoint: String,
    cache: Cache,
    offline: bool,
}

impl Hub {
    /// Creates a client; sends no request.
    ///
    /// # Errors
    /// [`Error::NoHome`] if no cache folder is given and the user has no home folder; [`Error::Address`].
    pub fn new(access: &Access) -> Result<Self> {
        let cache = match &access.hub_cache {
            Some(folder) => Cache::new(folder.clone()),
            // `Cache::default()` does not handle this.
            None if std::env::home_dir().is_none() => return Err(Error::NoHome),
            None => Cache::default(),
        };
        // An environment variable that is set but empty counts as not set.
        let named = access.endpoint.as_deref().filter(|endpoint| !endpoint.is_empty());
        let endpoint = named.unwrap_or(ENDPOINT).trim_end_matches('/').to_owned();
        if !endpoint.starts_with("http://") && !endpoint.starts_with("https://") {
            return Err(Error::Address { url: endpoint, reason: "an endpoint starts with https:// or http://".into() });
        }
        Ok(Self { client: Client::new(access)?, endpoint, cache, offline: access.offline })
    }

    /// Returns the path of a repository's file, downloaded into the cache if necessary. Other programs share the file: do not
    /// write to it. It has the hash that the hub names, and the SHA-256 `expected` if given.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Offline`], [`Error::Hash`], and all errors of a download.
    pub fn file(&self, repository: &Repository, file: &str, expected: Option<&str>, watch: Watch<'_>) -> Result<PathBuf> {
        if !is_path(file) {
            return Err(Error::Name { text: file.into(), help: "a file of a repository has a plain path" });
        }
        let what = format!("{file} of {repository}");
        if self.offline || repository.is_pinned() {
            if let Some(path) = self.cached(repository, file) {
                self.check(&path, expected, &what, watch)?;
                return Ok(path);
            }
            if self.offline {
                return Err(Error::Offline { what, cache: self.cache.path().clone() });
            }
        }
        let url = self.url(repository, file);
        let head = self.client.head(&url)?;
        let (commit, digest) = identity(&url, &head)?;
        let folder = self.folder(repository);
        let blob = folder.join("blobs").join(digest.as_str());
        let is_whole = |watch: Watch<'_>| blob.is_file() && digest.check(&blob, &what, watch).is_ok();
        if !is_whole(watch) {
            let _lock = Lock::take(&self.lock(repository, &digest), &what, watch)?;
            // The previous holder of the lock may have downloaded the file.
            if !is_whole(watch) {
                let partial = blob.with_extension("incomplete");
                download(&self.client, Wanted { url: &url, bytes: head.bytes, limit: LARGEST_FILE }, &partial, watch)?;
                keep(&partial, &blob, &digest, &url, watch)?;
            }
        }
        if let Some(expected) = expected {
            Digest::Sha256(expected.into()).check(&blob, &what, watch)?;
        }
        let path = folder.join("snapshots").join(&commit).join(file);
        point(&path, &blob)?;
        if !repository.is_pinned() {
            let refused = Error::write(folder.join("refs"));
            self.cache.repo(repo(repository)).create_ref(&commit).map_err(refused)?;
        }
        Ok(path)
    }

    /// As [`Hub::file`]; `None` if the repository has no such file. The cache keeps that for the offline mode, as that of the hub's
    /// Python library does.
    ///
    /// # Errors
    /// As [`Hub::file`].
    pub fn file_if_there(&self, repository: &Repository, file: &str, watch: Watch<'_>) -> Result<Option<PathBuf>> {
        let path = self.file(repository, file, None, watch);
        let commit = self.snapshot(repository).and_then(|snapshot| Some(snapshot.file_name()?.to_owned()));
        let mark = commit.map(|commit| self.folder(repository).join(".no_exist").join(commit).join(file));
        match (path, mark) {
            (Err(Error::Status { status: 404, .. }), Some(mark)) => {
                let written = fs::create_dir_all(rankle_files::folder_of(&mark)).and_then(|()| fs::write(&mark, ""));
                written.map_err(Error::write(&mark))?;
                Ok(None)
            }
            (Err(Error::Status { status: 404, .. }), None) => Ok(None),
            (Err(Error::Offline { .. }), Some(mark)) if mark.is_file() => Ok(None),
            (path, _) => path.map(Some),
        }
    }

    /// Lists the files of a repository, sorted by name; offline only the files in the cache.
    ///
    /// # Errors
    /// [`Error::Offline`], [`Error::Answer`], and all errors of a request.
    pub fn files(&self, repository: &Repository) -> Result<Vec<String>> {
        let mut files = if self.offline { self.cached_files(repository)? } else { self.listed_files(repository)? };
        files.retain(|file| is_path(file));
        files.sort();
        Ok(files)
    }

    fn listed_files(&self, repository: &Repository) -> Result<Vec<String>> {
        let kind = match repository.kind() {
            Kind::Model => "models",
            Kind::Dataset => "datasets",
        };
        let revision = repository.revision().replace('/', "%2F");
        let url = format!("{}/api/{kind}/{}/revision/{revision}", self.endpoint, repository.name());
        let answer: Option<Value> = serde_json::from_str(&self.client.text(&url, LARGEST_LIST)?).ok();
        let files = answer.as_ref().and_then(|answer| answer["siblings"].as_array());
        let wrong = || Error::Answer { url, found: "no list of files".into(), help: "is that a hub?" };
        let names = files.ok_or_else(wrong)?.iter().filter_map(|file| file["rfilename"].as_str());
        Ok(names.map(str::to_owned).collect())
    }

    fn cached_files(&self, repository: &Repository) -> Result<Vec<String>> {
        let missing = || Error::Offline { what: repository.to_string(), cache: self.cache.path().clone() };
        let root = self.snapshot(repository).filter(|root| root.is_dir()).ok_or_else(missing)?;
        let (mut files, mut folders) = (Vec::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(Error::read(&folder))? {
                let path = entry.map_err(Error::read(&folder))?.path();
                if path.is_dir() {
                    folders.push(path);
                } else if let Some(name) = path.strip_prefix(&root).ok().and_then(Path::to_str) {
                    files.push(name.replace('\\', "/"));
                }
            }
        }
        Ok(files)
    }

    fn url(&self, repository: &Repository, file: &str) -> String {
        let kind = match repository.kind() {
            Kind::Model => "",
            Kind::Dataset => "datasets/",
        };
        let (revision, file) = (repository.revision().replace('/', "%2F"), file.replace(' ', "%20").replace('+', "%2B"));
        format!("{}/{kind}{}/resolve/{revision}/{file}", self.endpoint, repository.name())
    }

    fn folder(&self, repository: &Repository) -> PathBuf {
        self.cache.path().join(repo(repository).folder_name())
    }

    /// Path of the lock of a download, the same as in the hub's Python library, whose unfinished files have our names, too.
    fn lock(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        self.cache.path().join(".locks").join(repo(repository).folder_name()).join(format!("{}.lock", digest.as_str()))
    }

    /// Folder of the revision in the cache. A branch has the commit of the last download from it.
    fn snapshot(&self, repository: &Repository) -> Option<PathBuf> {
        let folder = self.folder(repository);
        let commit = match repository.is_pinned() {
            true => repository.revision().to_owned(),
            false => fs::read_to_string(folder.join("refs").join(repository.revision())).ok()?.trim().to_owned(),
        };
        is_commit(&commit).then(|| folder.join("snapshots").join(commit))
    }

    fn cached(&self, repository: &Repository, file: &str) -> Option<PathBuf> {
        self.snapshot(repository).map(|snapshot| snapshot.join(file)).filter(|path| path.is_file())
    }

    /// Checks a file of the cache: the name of the blob that it points to is its hash.
    fn check(&self, path: &Path, expected: Option<&str>, what: &str, watch: Watch<'_>) -> Result<()> {
        let blob = path.canonicalize().map_err(Error::read(path))?;
        let named = blob.file_name().and_then(|name| Digest::parse(name.to_str()?));
        let known = expected.map(|hash| Digest::Sha256(hash.into()));
        [named, known].into_iter().flatten().try_for_each(|digest| digest.check(path, what, watch))
    }
}

/// Converts to the type of the library that knows the layout of the cache.
fn repo(repository: &Repository) -> Repo {
    let kind = match repository.kind() {
        Kind::Model => RepoType::Model,
        Kind::Dataset => RepoType::Dataset,
    };
    Repo::with_revision(repository.name().into(), kind, repository.revision().into())
}

/// Commit and content hash from the headers. Both become file names, so anything that is not a hash is refused.
fn identity(url: &str, head: &Head) -> Result<(String, Digest)> {
    let wrong = |found| Error::Answer { url: url.into(), found, help: "is that a hub?" };
    let commit = head.commit.as_deref().filter(|commit| is_commit(commit));
    let commit = commit.ok_or_else(|| wrong("no commit (X-Repo-Commit)".to_owned()))?;
    let digest = head.etag.as_deref().and_then(Digest::parse);
    Ok((commit.to_owned(), digest.ok_or_else(|| wrong("no content hash (ETag)".to_owned()))?))
}

/// Makes `path` a relative link to `blob`, as in every cache of the hub, or a copy on systems without links.
fn point(path: &Path, blob: &Path) -> Result<()> {
    let temporary = folder::temporary(rankle_files::folder_of(path))?;
    let link = temporary.path().join("link");
    link_or_copy(path, blob, &link).map_err(Error::write(path))?;
    folder::rename(&link, path)
}

#[cfg(unix)]
fn link_or_copy(path: &Path, blob: &Path, link: &Path) -> std::io::Result<()> {
    // …/REPO/snapshots/COMMIT/deep/file -> …/REPO/blobs/HASH
    let repository = blob.parent().and_then(Path::parent).unwrap_or(blob);
    let depth = path.strip_prefix(repository).unwrap_or(path).components().count() - 1;
    let up = PathBuf::from_iter(std::iter::repeat_n("..", depth));
    std::os::unix::fs::symlink(up.join(blob.strip_prefix(repository).unwrap_or(blob)), link)
}

#[cfg(not(unix))]
fn link_or_copy(_path: &Path, blob: &Path, link: &Path) -> std::io::Result<()> {
    fs::copy(blob, link).map(drop)
}
