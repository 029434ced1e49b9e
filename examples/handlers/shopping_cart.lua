-- A shopping cart, as a JSON object of items and how many of each.
--
-- All items of all versions are in it; of an item that several have, the highest number counts. A cart
-- that was deleted at one leader and filled at another stays as it was filled.
--
--   {"apples":2} | {"apples":1,"pears":3}            ->  {"apples":2,"pears":3}
--   {"apples":2} | {"pears":1} | {"plums":5}         ->  {"apples":2,"pears":1,"plums":5}
--   (deleted) | {"apples":1}                         ->  {"apples":1}
--   {"apples":2} | no cart                           ->  (lww)
--
-- HANDLER LOAD cart "$(cat shopping_cart.lua)"
-- POLICY SET 'cart:*' handler cart

function merge(key, versions)
  local cart = {}
  for _, version in ipairs(versions) do
    if version.value then
      local items = json.decode(version.value)
      if type(items) ~= 'table' then return nil end
      for item, count in pairs(items) do
        if type(count) ~= 'number' then return nil end
        cart[item] = math.max(cart[item] or 0, count)
      end
    end
  end
  return json.encode(cart)
end
