//! What is sold: products, sales and their items.

mod adjustment;
mod allotment;
mod control;
mod document;
mod fields;
mod ids;
mod money;
mod new_sale;
mod product;
mod sale;
mod store;

pub use adjustment::{Adjustment, AdjustmentKey, AdjustmentKeyError, adjustment_delta, split_by_free};
pub use allotment::{STOCK_MAX, split_evenly};
pub use control::{ControlAction, ControlError, SaleControl, SaleStatus, SaleWindow, UnknownWord};
pub use document::{DocumentError, read_json, read_toml};
pub use fields::{FIELD_ERRORS_MAX, FieldError};
pub use ids::{IdError, SaleId, Sku};
pub use money::{Money, PRICE_MAX};
pub use new_sale::{ITEMS_MAX, NewItem, NewSale};
pub use product::{PRODUCTS_MAX, Product, StoredProduct, read_products};
pub use sale::{
    BuyerCancel, Item, ItemStock, PaymentPolicy, ProductText, Sale, SaleDefinition, SaleDetail, SaleSummary,
    SaleView,
};
pub use store::{
    Adjusted, CatalogueStore, ControlChange, Created, PAGE_MAX, Page, Publication, SaleEvent, StoreError,
};
