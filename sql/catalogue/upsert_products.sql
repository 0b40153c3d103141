-- Puts products; a product that is already as given is not written, so that repeating is free and
-- updated_at tells the last real change. Ordered by SKU: two writers lock in the same order.
-- $1..$6: arrays of sku, name, description, price (minor units), currency, image_url.
INSERT INTO products AS old (sku, name, description, price, currency, image_url)
SELECT sku, name, description, price, currency, image_url
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[])
    AS new (sku, name, description, price, currency, image_url)
ORDER BY sku COLLATE "C"
ON CONFLICT (sku) DO UPDATE
SET name = excluded.name,
    description = excluded.description,
    price = excluded.price,
    currency = excluded.currency,
    image_url = excluded.image_url,
    updated_at = now()
WHERE (old.name, old.description, old.price, old.currency, old.image_url)
    IS DISTINCT FROM
      (excluded.name, excluded.description, excluded.price, excluded.currency, excluded.image_url)
