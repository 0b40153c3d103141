//! An event as it is sent: CloudEvents 1.0 in its structured JSON form
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::order_id::OrderId;

/// Its media type.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// What happened. Written the same at every attempt.
#[derive(Debug, Clone, PartialEq)]
pub struct CloudEvent {
    /// The `webhook-id`.
    pub id: String,
    /// See [`EventType`](super::EventType); text, since an older version may meet a newer type.
    pub event_type: String,
    /// When.
    pub at: Timestamp,
    /// Of what.
    pub sale: Option<String>,
    /// Of what.
    pub order: Option<OrderId>,
    /// The order's buyer.
    pub buyer: Option<String>,
    /// The order's lines.
    pub items: Option<Value>,
    /// What else there is to say: a JSON object.
    pub detail: Value,
}

impl CloudEvent {
    /// The body of the request.
    pub fn to_json(&self) -> String {
        let source = match &self.sale {
            Some(sale) => format!("/v1/sales/{sale}"),
            None => "/".to_owned(),
        };
        let mut event = json!({
            "specversion": "1.0", "id": self.id, "source": source, "type": self.event_type, "time": self.at,
            "datacontenttype": "application/json", "data": self.data(),
        });
        if let Some(order) = self.order {
            event["subject"] = json!(order);
        }
        event.to_string()
    }

    fn data(&self) -> Value {
        let mut data = match &self.detail {
            Value::Object(detail) => detail.clone(),
            _ => Map::new(),
        };
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                data.insert(name.to_owned(), value);
            }
        };
        put("sale", self.sale.as_deref().map(Value::from));
        if let Some(order) = self.order {
            put("id", Some(json!(order)));
            put("href", Some(json!(format!("/v1/orders/{order}"))));
            put("buyer", self.buyer.as_deref().map(Value::from));
            put("state", self.event_type.strip_prefix("order.").map(Value::from));
            put("items", self.items.clone());
        }
        Value::Object(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_cloud_events_wants() {
        let order: OrderId = "01KAJ5R4ZX000000003QK6V8TM".parse().unwrap();
        let event = CloudEvent {
            id: "evt_1".to_owned(),
            event_type: "order.cancelled".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            sale: Some("demo".to_owned()),
            order: Some(order),
            buyer: Some("alice".to_owned()),
            items: Some(json!([{ "sku": "TEE", "quantity": 1 }])),
            detail: json!({ "cancel_reason": "expired" }),
        };
        let written: Value = serde_json::from_str(&event.to_json()).unwrap();
        let expected = json!({
            "specversion": "1.0", "id": "evt_1", "source": "/v1/sales/demo", "type": "order.cancelled",
            "subject": order, "time": "1970-01-01T00:00:00Z", "datacontenttype": "application/json",
            "data": {
                "id": order, "href": format!("/v1/orders/{order}"), "sale": "demo", "buyer": "alice",
                "state": "cancelled", "cancel_reason": "expired", "items": [{ "sku": "TEE", "quantity": 1 }],
            },
        });
        assert_eq!(written, expected);
    }
}
