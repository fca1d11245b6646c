//! A certificate for a lab, made once.

use super::TlsError;
use gethostname::gethostname;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    net::IpAddr,
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;
use tracing::info;

/// The file with the certificate and its key. They are in one, so that a crash cannot leave half of them.
const FILE: &str = "tls.pem";

/// The file of the certificate and its key, which is made if it is not there.
pub(super) fn file(folder: Option<&Path>, host: &str) -> Result<PathBuf, TlsError> {
    let folder = folder.map(Path::to_owned).or_else(state_folder).ok_or(TlsError::NoFolder)?;
    let path = folder.join(FILE);
    let failed = |error| TlsError::Keep { folder: folder.clone(), error };
    if path.try_exists().map_err(failed)? {
        return Ok(path);
    }
    let pem = make(host)?;
    fs::create_dir_all(&folder).map_err(failed)?;
    // Nobody else may read such a file.
    let mut file = NamedTempFile::new_in(&folder).map_err(failed)?;
    file.write_all(pem.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
    match file.persist_noclobber(&path) {
        Ok(_) => info!(path = %path.display(), "made a certificate"),
        // Another tracker was faster; its certificate is as good.
        Err(_) if path.exists() => {}
        Err(error) => return Err(failed(error.error)),
    }
    Ok(path)
}

/// Where programs keep what should outlive them (XDG Base Directory Specification).
fn state_folder() -> Option<PathBuf> {
    let from = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = from("XDG_STATE_HOME").or_else(|| Some(from("HOME")?.join(".local/state")))?;
    Some(state.join("minibit"))
}

/// A certificate and its key in PEM. It does not expire: who trusts it does so by its fingerprint.
fn make(host: &str) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(names(host).into_iter().collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "MiniBit");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}

/// The names and addresses by which people may reach this machine, as far as it knows them.
fn names(host: &str) -> BTreeSet<String> {
    let machine = gethostname().to_string_lossy().into_owned();
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.into_iter().map(|interface| interface.ip().to_string());
    let own = ["localhost", "127.0.0.1", "::1", host].map(str::to_owned);
    let mut names: BTreeSet<_> = own.into_iter().chain(addresses).collect();
    if !machine.contains('.') {
        // By multicast DNS (RFC 6762).
        names.insert(format!("{machine}.local"));
    }
    names.insert(machine);
    // An address that means every network of the machine is not the name of one.
    names.retain(|name| is_name(name) && !name.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified()));
    names
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|character| character.is_ascii_alphanumeric() || ".-:_".contains(character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("new");
        let path = file(Some(&folder), "lab").unwrap();
        let made = fs::read(&path).unwrap();
        assert_eq!(file(Some(&folder), "lab").unwrap(), path);
        assert_eq!(fs::read(&path).unwrap(), made);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn it_is_for_the_host_and_not_for_every_address() {
        let names = names("lab.example");
        assert!(["lab.example", "localhost", "127.0.0.1", "::1"].iter().all(|name| names.contains(*name)));
        assert!(!super::names("0.0.0.0").contains("0.0.0.0"));
        assert!(make("0.0.0.0").is_ok() && make("no name").is_ok());
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let occupied = folder.path().join("file");
        fs::write(&occupied, "").unwrap();
        let error = file(Some(&occupied), "lab").unwrap_err().to_string();
        assert!(error.contains("--tls-folder") && error.contains(&*occupied.to_string_lossy()), "{error}");
    }
}
