//! Weights on the Hugging Face hub, named as `hf:OWNER/REPO`.

use anyhow::Result;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

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

/// Name of the weights without paths of this machine: the name on the hub, or the file name.
pub(crate) fn name(weights: &Path) -> String {
    let on_hub = weights.to_str().filter(|name| name.starts_with(SCHEME)).map(OsStr::new);
    on_hub.or(weights.file_name()).unwrap_or(weights.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(not(feature = "hub"))]
fn on_hub(name: &str) -> Result<std::path::PathBuf> {
    anyhow::bail!(
        "{name} is on the hub, and this program was built without it: build it with `cargo install --path crates/rankle --features \
         hub`, or download the file and name that"
    )
}

#[cfg(feature = "hub")]
use with_hub::on_hub;
#[cfg(feature = "hub")]
pub(crate) use with_hub::start;

#[cfg(feature = "hub")]
mod with_hub {
    use crate::stop::Stop;
    use crate::{interrupt, progress};
    use anyhow::Result;
    use rankle_hub::{Access, Error, Hub, Reference, telling};
    use std::path::PathBuf;
    use std::sync::Mutex;

    /// Hub options of the command line.
    static ACCESS: Mutex<Option<Access>> = Mutex::new(None);

    /// Sets how the hub is accessed from here on.
    pub(crate) fn start(access: Access) {
        *ACCESS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(access);
    }

    pub(super) fn on_hub(name: &str) -> Result<PathBuf> {
        let Reference { repository, file } = name.parse().map_err(|error: Error| Stop::usage(error.to_string()))?;
        let access = ACCESS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone().unwrap_or_default();
        let bar = progress::bar(0);
        bar.set_message(format!("of {file}"));
        let moved = |done, total: Option<u64>| {
            bar.set_length(total.unwrap_or_default());
            bar.set_position(done);
            interrupt::flow()
        };
        let mut watch = telling(moved, |line: &str| tracing::info!("{line}"));
        let path = Hub::new(&access)?.file(&repository, &file, None, &mut watch);
        bar.finish_and_clear();
        match path {
            Ok(path) => {
                tracing::debug!("{name} is {}", path.display());
                Ok(path)
            }
            Err(Error::Interrupted) => Err(Stop::interrupted("the same command goes on with the download").into()),
            Err(error) => Err(error.into()),
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
    }
}
