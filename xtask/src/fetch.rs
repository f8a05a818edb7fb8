//! `cargo xtask fetch`: data that the repository does not ship.

mod manifest;

use crate::files;
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, ValueEnum};
use flate2::read::MultiGzDecoder;
use manifest::{File, Manifest};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Put a dataset into its folder under datasets/, every file checked against the hash in its manifest.
///
/// Fashion-MNIST is taken from Debian's package dataset-fashion-mnist, or from a folder that you name. Nothing is downloaded.
#[derive(Args)]
pub(crate) struct Fetch {
    /// Which dataset
    #[arg(value_name = "NAME")]
    name: Name,
    /// A folder that holds the files, gzipped or plain, instead of where the package puts them
    #[arg(long, value_name = "FOLDER")]
    from: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// 70,000 images of clothes, 28 by 28 grey pixels
    FashionMnist,
    /// Handwritten digits: they are shipped, this only checks them
    Mnist,
}

impl Name {
    fn as_str(self) -> &'static str {
        match self {
            Self::FashionMnist => "fashion-mnist",
            Self::Mnist => "mnist",
        }
    }
}

impl Fetch {
    pub(crate) fn run(self) -> Result<()> {
        let folder = files::root().join("datasets").join(self.name.as_str());
        let manifest = Manifest::read(&folder.join("manifest.toml"))?;
        if self.name == Name::Mnist && self.from.is_none() {
            for file in manifest.files() {
                settle(&folder, file).map_err(|error| anyhow!("{error:#}; restore it from the repository"))?;
            }
            println!("mnist ships with the repository, and its four files are what they should be");
            return Ok(());
        }
        let source = match (&self.from, &manifest.system_folder) {
            (Some(from), _) => from.clone(),
            (None, Some(system)) => PathBuf::from(system),
            (None, None) => bail!("the manifest of {} names no system folder: pass --from FOLDER", self.name.as_str()),
        };
        match fetch(&manifest, &source, &folder)? {
            0 => println!("{} was there already, and is what it should be: {}", manifest.title, files::shown(&folder)),
            copied => println!(
                "{}: {copied} files checked and copied to {} ({}, {})",
                manifest.title,
                files::shown(&folder),
                manifest.license,
                manifest.attribution
            ),
        }
        Ok(())
    }
}

/// Copies what `folder` lacks or holds wrongly; returns how many files that was. Everything is checked before anything is
/// written.
///
/// # Errors
/// One line with what is wrong and what to do.
fn fetch(manifest: &Manifest, source: &Path, folder: &Path) -> Result<usize> {
    let missing: Vec<&File> = manifest.files().filter(|file| verified(folder, file).is_err()).collect();
    let found: Vec<Found> = missing
        .iter()
        .map(|file| verified(source, file))
        .collect::<Result<_>>()
        .map_err(|error| anyhow!("{} cannot be fetched: {error:#}; {}", manifest.title, advice(manifest)))?;
    for Found { path, bytes } in &found {
        let name = path.file_name().context("a file has a name")?;
        files::write(&folder.join(name), bytes)?;
    }
    manifest.files().try_for_each(|file| settle(folder, file))?;
    Ok(found.len())
}

/// Removes a damaged gzipped file beside a good plain one: readers take the gzipped one first.
///
/// # Errors
/// When neither is good, or the damaged one cannot be removed.
fn settle(folder: &Path, file: &File) -> Result<()> {
    let good = verified(folder, file)?.path;
    let [zipped, _] = candidates(folder, file);
    if good != zipped && zipped.is_file() {
        fs::remove_file(&zipped).with_context(|| format!("cannot remove {}, which is damaged", zipped.display()))?;
    }
    Ok(())
}

fn advice(manifest: &Manifest) -> String {
    format!(
        "install Debian's package (`apt-get install dataset-{name}`), or download the four files from {source} into a folder and run \
         `cargo xtask fetch {name} --from FOLDER`",
        name = manifest.name,
        source = manifest.source
    )
}

/// A file that is what the manifest says, as it lies on the disk.
struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
}

/// Where a file of the manifest may lie: gzipped or plain.
fn candidates(folder: &Path, file: &File) -> [PathBuf; 2] {
    [folder.join(format!("{}.gz", file.name)), folder.join(&file.name)]
}

/// Reads a file of the manifest from a folder, gzipped or else plain, and checks its decompressed length and hash.
///
/// # Errors
/// When it is not there, and what is wrong with the first one that is there, when none is good.
fn verified(folder: &Path, file: &File) -> Result<Found> {
    let there = candidates(folder, file).into_iter().filter(|path| path.is_file());
    let mut outcomes = there.map(|path| -> Result<Found> {
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        check(&bytes, file).with_context(|| format!("{} is not the file it should be", path.display()))?;
        Ok(Found { path, bytes })
    });
    let missing = || format!("there is no {}.gz and no {} in {}", file.name, file.name, folder.display());
    let first = outcomes.next().with_context(missing)?;
    first.or_else(|error| outcomes.next().and_then(Result::ok).ok_or(error))
}

fn check(bytes: &[u8], file: &File) -> Result<()> {
    let mut content = Vec::new();
    if bytes.starts_with(&[0x1F, 0x8B]) {
        // One byte more than expected is enough to know that a file is too long, however much a bomb would unpack to.
        MultiGzDecoder::new(bytes).take(file.bytes + 1).read_to_end(&mut content).context("it does not decompress")?;
    } else {
        content.extend_from_slice(bytes);
    }
    if content.len() as u64 != file.bytes {
        let more = if content.len() as u64 > file.bytes { "more" } else { "fewer" };
        bail!("it holds {more} than the expected {} bytes", file.bytes);
    }
    let hash: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
    if hash != file.sha256 {
        bail!("its SHA-256 is {hash}, expected {}", file.sha256);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const NAMES: [&str; 4] = ["train-images", "train-labels", "test-images", "test-labels"];

    fn content(name: &str) -> Vec<u8> {
        name.repeat(100).into_bytes()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn manifest() -> Manifest {
        let entry = |table: &str, name: &str| {
            let hash: String = Sha256::digest(content(name)).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("[{table}]\nname = \"{name}\"\nbytes = {}\nsha256 = \"{hash}\"\n", content(name).len())
        };
        let tables = ["train.images", "train.labels", "test.images", "test.labels"];
        let entries: String = tables.iter().zip(NAMES).map(|(table, name)| entry(table, name)).collect();
        let head = "name = \"tiny\"\ntitle = \"Tiny\"\nsource = \"its home\"\nlicense = \"MIT\"\nattribution = \"us\"\n";
        Manifest::parse(&format!("{head}{entries}")).unwrap()
    }

    #[test]
    fn files_are_copied_once_gzipped_or_plain() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (n, name) in NAMES.into_iter().enumerate() {
            match n % 2 {
                0 => fs::write(source.path().join(format!("{name}.gz")), gzip(&content(name))).unwrap(),
                _ => fs::write(source.path().join(name), content(name)).unwrap(),
            }
        }
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 4);
        assert_eq!(fs::read(folder.path().join("train-images.gz")).unwrap(), gzip(&content("train-images")));
        assert_eq!(fs::read(folder.path().join("train-labels")).unwrap(), content("train-labels"));
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 0);

        fs::write(folder.path().join("train-labels"), "damaged").unwrap();
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 1);
        assert_eq!(fs::read(folder.path().join("train-labels")).unwrap(), content("train-labels"));
    }

    #[test]
    fn a_damaged_gzipped_file_never_hides_a_good_plain_one() {
        let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        NAMES.iter().for_each(|name| fs::write(source.path().join(name), content(name)).unwrap());
        let damaged = || fs::write(folder.path().join("train-images.gz"), "damaged").unwrap();

        damaged(); // alone: the source has the plain file only
        assert_eq!(fetch(&manifest(), source.path(), folder.path()).unwrap(), 4);
        assert!(!folder.path().join("train-images.gz").exists());

        damaged(); // beside the good one: nothing needs to be taken from anywhere
        assert_eq!(fetch(&manifest(), Path::new("nowhere"), folder.path()).unwrap(), 0);
        assert!(!folder.path().join("train-images.gz").exists());
        assert_eq!(fs::read(folder.path().join("train-images")).unwrap(), content("train-images"));
    }

    #[test]
    fn what_is_wrong_is_named_and_nothing_is_written() {
        let mut longer = content("test-labels");
        longer.push(0);
        let mut other = content("test-labels");
        other[0] ^= 1;
        let cut = gzip(&content("test-labels"))[..20].to_vec();
        let cases: [(Option<Vec<u8>>, &str); 5] = [
            (None, "there is no test-labels.gz and no test-labels"),
            (Some(gzip(&longer)), "it holds more than the expected 1100 bytes"),
            (Some(gzip(&content("x"))), "it holds fewer than the expected 1100 bytes"),
            (Some(gzip(&other)), "its SHA-256 is"),
            (Some(cut), "it does not decompress"),
        ];
        for (bytes, reason) in cases {
            let (source, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
            for name in &NAMES[..3] {
                fs::write(source.path().join(name), content(name)).unwrap();
            }
            if let Some(bytes) = bytes {
                fs::write(source.path().join("test-labels.gz"), bytes).unwrap();
            }
            let message = format!("{:#}", fetch(&manifest(), source.path(), folder.path()).unwrap_err());
            for part in [reason, "apt-get install dataset-tiny", "--from FOLDER", "its home", "test-labels"] {
                assert!(message.contains(part), "{part} in {message}");
            }
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn the_manifests_of_the_repository_are_read() {
        for name in Name::value_variants() {
            let manifest = Manifest::read(&files::root().join("datasets").join(name.as_str()).join("manifest.toml")).unwrap();
            assert_eq!((manifest.name.as_str(), manifest.files().count()), (name.as_str(), 4));
            assert!(manifest.files().all(|file| file.sha256.len() == 64 && file.bytes > 10_000));
        }
    }

    #[test]
    fn the_shipped_mnist_is_whole() {
        let folder = files::root().join("datasets/mnist");
        let manifest = Manifest::read(&folder.join("manifest.toml")).unwrap();
        for file in manifest.files() {
            verified(&folder, file).unwrap();
        }
    }
}
