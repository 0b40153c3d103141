use std::fs;
use std::time::Duration;

use clap::{Parser, Subcommand};
use doorbuster::cli::catalogue::{
    CatalogueAccess, CatalogueCliError, ProductCommand, SaleCommand, run_product, run_sale,
};
use serde_json::Value;

use crate::{Catalogue, TIMEOUT, definition};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Products
    #[command(subcommand)]
    Product(ProductCommand),
    /// Sales
    #[command(subcommand)]
    Sale(SaleCommand),
}

async fn type_in(catalogue: &Catalogue, line: &[&str]) -> Result<String, CatalogueCliError> {
    let access = CatalogueAccess {
        postgres_url: catalogue.url.clone(),
        redis: None,
        timeout: TIMEOUT,
        publish_wait: Duration::from_millis(50),
    };
    let mut out = Vec::new();
    match Line::try_parse_from(["doorbuster"].iter().chain(line)).unwrap().noun {
        Noun::Product(command) => run_product(command, &access, &mut out).await?,
        Noun::Sale(command) => drop(run_sale(command, &access, &mut out).await?),
    }
    Ok(String::from_utf8(out).unwrap())
}

#[tokio::test]
async fn a_sale_lives_on_the_command_line() {
    let catalogue = Catalogue::new(2).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demo.json");
    fs::write(&file, definition("demo").to_string()).unwrap();
    let file = file.to_str().unwrap();

    let created = type_in(&catalogue, &["sale", "create", file]).await.unwrap();
    assert!(created.starts_with("sale demo: created\nnot applied yet: 2 partition(s)"), "{created}");
    let again = type_in(&catalogue, &["sale", "create", file]).await.unwrap();
    assert!(again.starts_with("sale demo: unchanged"), "{again}");

    let list = type_in(&catalogue, &["sale", "list"]).await.unwrap();
    assert!(list.contains("ALLOTTED") && list.contains("not_yet_open") && list.contains("13"), "{list}");
    let opened = type_in(&catalogue, &["sale", "open", "demo", "--json"]).await.unwrap();
    let opened: Value = serde_json::from_str(&opened).unwrap();
    assert_eq!((&opened["sale"]["status"], &opened["applied"]), (&"open".into(), &false.into()));
    for word in ["pause", "resume", "close"] {
        type_in(&catalogue, &["sale", word, "demo"]).await.unwrap();
    }
    let shown = type_in(&catalogue, &["sale", "show", "demo"]).await.unwrap();
    assert!(shown.contains("closed from") && shown.contains("19.99 EUR"), "{shown}");
    let error = type_in(&catalogue, &["sale", "open", "demo"]).await.unwrap_err();
    assert!(error.to_string().contains("final"), "{error}");
    let products = type_in(&catalogue, &["product", "list", "--limit", "1"]).await.unwrap();
    assert!(products.contains("MUG") && products.contains("add --after MUG"), "{products}");
}

#[tokio::test]
async fn files_are_read_by_their_extension_and_mistakes_are_all_shown() {
    let catalogue = Catalogue::new(1).await;
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let products = write("p.toml", "[[products]]\nsku='A'\nname='a'\nprice=1\ncurrency='EUR'");
    let put = type_in(&catalogue, &["product", "put", &products]).await.unwrap();
    assert_eq!(put, "product A: a at 0.01 EUR\n");

    let bad = write("bad.toml", "id='x'\nname='x'\nopens_at=2026-01-01T00:00:00Z\nitems=[{sku='A',stock=0}]");
    let error = type_in(&catalogue, &["sale", "create", &bad]).await.unwrap_err().to_string();
    assert!(
        error.contains("\n  closes_at: is required") && error.contains("\n  items[0].stock: "),
        "{error}"
    );

    for (file, text) in [(write("a.txt", ""), "extension"), (write("a.json", "{"), "not JSON")] {
        let error = type_in(&catalogue, &["sale", "create", &file]).await.unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let error = type_in(&catalogue, &["product", "put", "nowhere.json"]).await.unwrap_err().to_string();
    assert!(error.contains("nowhere.json cannot be read"), "{error}");
}

#[test]
fn help_speaks_of_commands_not_of_their_parts() {
    use clap::CommandFactory;
    let mut command = Line::command();
    command.build();
    let sale = command.find_subcommand("sale").unwrap();
    let about = |name| sale.find_subcommand(name).unwrap().get_about().unwrap().to_string();
    assert_eq!(about("list"), "List the sales by id");
    assert_eq!(about("pause"), "Stop selling for a while");
}
