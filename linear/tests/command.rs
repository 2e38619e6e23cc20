//! The command, from its arguments to its exit code.

use std::{
    fs,
    process::{Command, Output},
};

const LISTED: &str = r#"{"op":"listed","stock":"S0","answer":{"shown":{"quantity":10,"version":1}}}"#;
const BOUGHT: &str = r#"{"op":"buy","stock":"S0","client":"a","call_us":1,"return_us":5,"quantity":3,"key":"k1","answer":{"accepted":{"version":2}}}"#;
const FRESH: &str = r#"{"op":"lookup","stock":"S0","client":"b","call_us":6,"return_us":7,"answer":{"shown":{"quantity":7,"version":2}}}"#;
const STALE: &str = r#"{"op":"lookup","stock":"S0","client":"b","call_us":8,"return_us":9,"answer":{"shown":{"quantity":10,"version":1}}}"#;

/// Checks a history of these lines.
fn checked(name: &str, lines: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let file = format!("{}/{name}.jsonl", env!("CARGO_TARGET_TMPDIR"));
    fs::write(&file, lines.join("\n")).unwrap();
    let command = Command::new(env!("CARGO_BIN_EXE_bazaar-linear")).arg(file).args(arguments).output();
    let Output { status, stdout, .. } = command.unwrap();
    (status.code(), String::from_utf8(stdout).unwrap())
}

#[test]
fn a_good_history_ends_with_0() {
    let (code, told) = checked("good", &[LISTED, BOUGHT, FRESH], &[]);
    assert_eq!(code, Some(0));
    assert!(told.starts_with("S0: ok, 2 operations"), "{told}");
}

#[test]
fn a_violation_ends_with_1_and_is_told() {
    let (code, told) = checked("violation", &[LISTED, BOUGHT, FRESH, STALE], &[]);
    assert_eq!(code, Some(1));
    for part in ["explains the first 2 answers:", "quantity 7, version 2", "Answer 3", "shown, quantity 10, version 1"]
    {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn what_is_not_known_ends_with_2() {
    let (code, told) = checked("bounded", &[LISTED, BOUGHT, FRESH], &["--entries-max", "0"]);
    assert_eq!(code, Some(2));
    assert!(told.contains("unknown") && told.contains("0 of 2 answers"), "{told}");
}

#[test]
fn what_cannot_be_read_ends_with_2() {
    for (name, lines) in [("form", &[LISTED, "{}"]), ("meaning", &[BOUGHT, FRESH])] {
        let (code, told) = checked(name, lines, &[]);
        assert_eq!(code, Some(2));
        assert!(told.contains("record "), "{told}");
    }
    let missing = Command::new(env!("CARGO_BIN_EXE_bazaar-linear")).arg("/nowhere").status().unwrap();
    assert_eq!(missing.code(), Some(2));
}
