# Read by cpack. Without these it would make a package that depends on nothing, and not say so.
foreach(tool dpkg-shlibdeps file strip gzip)
  find_program(found_${tool} ${tool})
  if(NOT found_${tool})
    message(FATAL_ERROR "${tool} is missing: install dpkg-dev, file, binutils and gzip")
  endif()
endforeach()
