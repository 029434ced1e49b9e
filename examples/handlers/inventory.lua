-- How many of an article are left: the lowest number that any leader wrote, and "sold out" wins.
--
--   12 | 9            ->  9
--   3 | sold out | 7  ->  sold out
--   (deleted) | 4     ->  4
--   5 | -2            ->  0
--
-- For stock that is sold by counting down, INCRBY needs no handler: all increments count.
--
-- HANDLER LOAD inventory "$(cat inventory.lua)"
-- POLICY SET 'stock:*' handler inventory

function merge(key, versions)
  local least
  for _, version in ipairs(versions) do
    if version.value then
      local count = tonumber(version.value)
      if not count then return 'sold out' end
      if not least or count < least then least = count end
    end
  end
  if least and least < 0 then return 0 end
  return least
end
