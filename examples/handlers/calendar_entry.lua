-- A calendar entry, as a JSON object.
--
-- Fields that only one version has are kept. Of a field that several have, the latest version's counts, but:
-- who is invited by anybody is invited (`people`, an array of names), and an entry that anybody called off
-- (`cancelled`) stays called off. An entry that was deleted at one leader and edited at another stays, and
-- says so (`deleted_at`): a person may delete it again.
--
--   {"start":"10:00","title":"A"} | {"start":"11:00","title":"B"}  ->  {"start":"11:00","title":"B"}
--   {"people":["Ada"],"place":"R1"} | {"people":["Grace"]}         ->  {"people":["Ada","Grace"],"place":"R1"}
--   {"cancelled":true,"title":"A"} | {"title":"B"}                 ->  {"cancelled":true,"title":"B"}
--   (deleted) | {"title":"B"}                                      ->  {"deleted_at":"asia","title":"B"}
--   {"title":"A"} | B                                              ->  (lww)
--
-- HANDLER LOAD calendar "$(cat calendar_entry.lua)"
-- POLICY SET 'entry:*' handler calendar

function merge(key, versions)
  local entries = {}
  local deleted_at
  for place, version in ipairs(versions) do
    if version.value then
      local fields = json.decode(version.value)
      if type(fields) ~= 'table' then return nil end
      entries[#entries + 1] = {fields = fields, time = version.time, place = place}
    else
      deleted_at = deleted_at or version.leader
    end
  end
  table.sort(entries, function(a, b)
    if a.time ~= b.time then return a.time < b.time end
    return a.place < b.place
  end)

  local merged, people = {}, {}
  local cancelled = false
  for _, entry in ipairs(entries) do
    for name, value in pairs(entry.fields) do merged[name] = value end
    for _, name in ipairs(entry.fields.people or {}) do people[name] = true end
    cancelled = cancelled or entry.fields.cancelled == true
  end
  if next(people) then
    merged.people = json.array({})
    for name in pairs(people) do merged.people[#merged.people + 1] = name end
  end
  if cancelled then merged.cancelled = true end
  merged.deleted_at = merged.deleted_at or deleted_at
  return json.encode(merged)
end
