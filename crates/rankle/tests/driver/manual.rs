//! Shell completions and man pages.

use crate::support::{outcome, rankle};

#[test]
fn every_command_has_completions_and_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man");
    let (code, stdout, stderr) = outcome(rankle("man --output").arg(&pages));
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let (_, help, _) = outcome(&mut rankle("--help"));
    let commands = help.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| line.starts_with(char::is_alphabetic));
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").collect();
    assert!(names.len() > 15, "{names:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, stderr) = outcome(rankle("completions").arg(shell));
        assert_eq!((code, stderr.as_str()), (0, ""), "{shell}");
        assert!(names.iter().all(|name| script.contains(name)) && script.contains("epsilon"), "{shell}");
    }
    for name in names {
        let page = std::fs::read_to_string(pages.join(format!("rankle-{name}.1"))).unwrap();
        assert!(page.starts_with(".ie") && page.contains("SYNOPSIS"), "{name}");
    }
    assert!(std::fs::read_to_string(pages.join("rankle.1")).unwrap().contains("rankle\\-attack(1)"));
    assert_eq!(outcome(&mut rankle("completions csh")).0, 2);
    let (code, _, stderr) = outcome(rankle("man --output").arg(pages.join("rankle.1")));
    assert!(code == 1 && stderr.contains("cannot be made"), "{stderr}");
}
