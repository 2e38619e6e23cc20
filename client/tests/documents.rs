//! The documents that are made by scripts: they show what the commands are and what the experiments found.

use std::{fs, path::PathBuf};

use bazaar_client::{
    Cli,
    crash::report::CrashReport,
    sweep::{figures::sheets, markdown::markdown, report::SweepReport},
};
use clap::CommandFactory;
use serde::de::DeserializeOwned;

fn document(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn figures<T: DeserializeOwned>(name: &str) -> T {
    serde_json::from_str(&document(name)).unwrap()
}

#[test]
fn the_output_of_every_command_is_shown() {
    let page = document("output.md");
    let shown = |name: &str| page.lines().any(|line| line.split(' ').take(3).eq(["$", "bazaar", name]));
    let missing: Vec<String> = Cli::command()
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .map(|command| command.get_name().to_owned())
        .filter(|name| !shown(name))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "run scripts/output");
}

#[test]
fn the_evaluation_quotes_the_figures_that_are_kept_beside_it() {
    let page = document("evaluation.md");
    let sweep: SweepReport = figures("evaluation/sweep.json");
    let crash: CrashReport = figures("evaluation/crash.json");
    let told = "run scripts/evaluation";
    assert!(page.contains(&format!("<!-- sweep -->\n\n{}", markdown(&sweep))), "{told}");
    assert!(page.contains(&format!("<!-- crash -->\n\n{}", crash.to_markdown())), "{told}");
    assert_eq!(crash.complaint(), None);
}

#[test]
fn the_plots_are_drawn_from_the_figures_that_are_kept_beside_them() {
    for sheet in sheets(&figures::<SweepReport>("evaluation/sweep.json")) {
        let (svg, png) = (format!("evaluation/{}.svg", sheet.name), format!("../docs/evaluation/{}.png", sheet.name));
        assert_eq!(document(&svg), sheet.svg, "run scripts/evaluation");
        let png = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(png)).unwrap();
        assert_eq!(&png[1..4], b"PNG");
    }
}
