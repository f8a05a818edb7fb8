//! Weights on the Hugging Face hub, named as `hf:OWNER/REPO`, and models by the configuration beside their weights.

use anyhow::{Context, Result};
use rankle_core::InputSpec;
use rankle_models::Architecture;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Prefix of a name on the hub; no file name starts with it.
const SCHEME: &str = "hf:";

/// Local path of the weights: the file that is named, or the one in the hub's cache, downloaded if need be.
///
/// # Errors
/// [`crate::stop::Stop`] for a malformed name; one line for a failed download.
pub(crate) fn local(weights: &Path) -> Result<Cow<'_, Path>> {
    match weights.to_str().filter(|name| name.starts_with(SCHEME)) {
        Some(name) => on_hub(name).map(Cow::Owned),
        None => Ok(Cow::Borrowed(weights)),
    }
}

/// True for a name on the hub.
pub(crate) fn is_name(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(SCHEME))
}

/// A model on the hub, as the files beside its weights describe it.
pub(crate) struct Published {
    pub(crate) architecture: Architecture,
    /// Its preparation of photographs.
    pub(crate) input: InputSpec,
    /// Name of the weights on the hub.
    pub(crate) weights: PathBuf,
}

impl Published {
    /// Reads `config.json` and, if there is one, `preprocessor_config.json` beside the weights `name`.
    ///
    /// # Errors
    /// As [`local`]; one line for files that are not understood and networks that are not supported.
    pub(crate) fn read(name: &str) -> Result<Self> {
        let config = text(&on_hub(&beside(name, "config.json"))?)?;
        let preprocessor = on_hub_if_there(&beside(name, "preprocessor_config.json"))?.map(|path| text(&path)).transpose()?;
        let (architecture, input) =
            Architecture::from_config(&config, preprocessor.as_deref()).with_context(|| name.to_owned())?;
        tracing::info!("{name} is {architecture}");
        Ok(Self { architecture, input, weights: name.into() })
    }
}

/// Name of another file in the folder of the weights.
fn beside(weights: &str, file: &str) -> String {
    let mut parts = weights.splitn(3, '/');
    let repository = [parts.next(), parts.next()].into_iter().flatten().collect::<Vec<_>>().join("/");
    match parts.next().and_then(|path| path.rsplit_once('/')) {
        Some((folder, _)) => format!("{repository}/{folder}/{file}"),
        None => format!("{repository}/{file}"),
    }
}

/// Text of a small file.
fn text(path: &Path) -> Result<String> {
    /// Bytes that are read of a longer file, which [`Architecture::from_config`] then refuses.
    const MOST: u64 = (1 << 20) + 1;
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text));
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(text)
}

/// Name of the weights without paths of this machine: the name on the hub, or the file name.
pub(crate) fn name(weights: &Path) -> String {
    let on_hub = weights.to_str().filter(|name| name.starts_with(SCHEME)).map(OsStr::new);
    on_hub.or(weights.file_name()).unwrap_or(weights.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(not(feature = "hub"))]
fn on_hub(name: &str) -> Result<PathBuf> {
    anyhow::bail!(
        "{name} is on the hub, and this program was built without it: build it with `cargo install --path crates/rankle --features \
         hub`, or download the file and name that"
    )
}

#[cfg(not(feature = "hub"))]
fn on_hub_if_there(name: &str) -> Result<Option<PathBuf>> {
    on_hub(name).map(Some)
}

#[cfg(feature = "hub")]
pub(crate) use with_hub::start;
#[cfg(feature = "hub")]
use with_hub::{on_hub, on_hub_if_there};

#[cfg(feature = "hub")]
mod with_hub {
    use crate::stop::Stop;
    use crate::{interrupt, progress};
    use anyhow::Result;
    use rankle_hub::{Access, Error, Hub, Reference, Watch, telling};
    use std::fmt::Debug;
    use std::path::PathBuf;
    use std::sync::Mutex;

    /// Hub options of the command line.
    static ACCESS: Mutex<Option<Access>> = Mutex::new(None);

    /// Sets how the hub is accessed from here on.
    pub(crate) fn start(access: Access) {
        *ACCESS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(access);
    }

    pub(super) fn on_hub(name: &str) -> Result<PathBuf> {
        fetched(name, |hub, Reference { repository, file }, watch| hub.file(repository, file, None, watch))
    }

    /// As [`on_hub`]; `None` if the repository has no such file.
    pub(super) fn on_hub_if_there(name: &str) -> Result<Option<PathBuf>> {
        fetched(name, |hub, Reference { repository, file }, watch| hub.file_if_there(repository, file, watch))
    }

    /// The outcome of a download.
    fn fetched<T: Debug>(name: &str, fetch: impl FnOnce(&Hub, &Reference, Watch<'_>) -> rankle_hub::Result<T>) -> Result<T> {
        let reference: Reference = name.parse().map_err(|error: Error| Stop::usage(error.to_string()))?;
        let access = ACCESS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone().unwrap_or_default();
        let bar = progress::bar(0);
        bar.set_message(format!("of {}", reference.file));
        let moved = |done, total: Option<u64>| {
            bar.set_length(total.unwrap_or_default());
            bar.set_position(done);
            interrupt::flow()
        };
        let mut watch = telling(moved, |line: &str| tracing::info!("{line}"));
        let path = fetch(&Hub::new(&access)?, &reference, &mut watch);
        bar.finish_and_clear();
        match path {
            Err(Error::Interrupted) => Err(Stop::interrupted("the same command goes on with the download").into()),
            path => {
                let path = path?;
                tracing::debug!("{name} is {path:?}");
                Ok(path)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_path() {
        for path in ["model.safetensors", "/tmp/hf:x", "./hf:x/y", "hf"] {
            assert_eq!(local(Path::new(path)).unwrap(), Path::new(path));
        }
        assert_eq!(name(Path::new("deep/model.safetensors")), "model.safetensors");
        assert_eq!(name(Path::new("hf:a/b@c/d.safetensors")), "hf:a/b@c/d.safetensors");
        assert!(is_name(OsStr::new("hf:a/b")) && !is_name(OsStr::new("resnet18")));
    }

    #[test]
    fn the_configuration_lies_beside_the_weights() {
        for (weights, config) in [
            ("hf:a/b", "hf:a/b/config.json"),
            ("hf:a/b@c", "hf:a/b@c/config.json"),
            ("hf:a/b@c/d.safetensors", "hf:a/b@c/config.json"),
            ("hf:a/b/c/d/e.safetensors", "hf:a/b/c/d/config.json"),
            ("hf:a", "hf:a/config.json"),
        ] {
            assert_eq!(beside(weights, "config.json"), config);
        }
    }
}
