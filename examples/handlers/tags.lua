-- A set of tags, as words with commas between: those of all versions, sorted, each once.
--
--   red,blue | blue,green    ->  blue,green,red
--   red | (deleted) | a, b   ->  a,b,red
--
-- HANDLER LOAD tags "$(cat tags.lua)"
-- POLICY SET 'tags:*' handler tags

function merge(key, versions)
  local tags, list = {}, {}
  for _, version in ipairs(versions) do
    for tag in (version.value or ''):gmatch('[^,%s]+') do tags[tag] = true end
  end
  for tag in pairs(tags) do list[#list + 1] = tag end
  return table.concat(list, ',')
end
