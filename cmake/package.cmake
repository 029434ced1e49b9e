# The Debian package: `cpack -G DEB` in a build directory whose programs are built (docs/operations.md,
# "Installing"). What maintains it is in packaging/; manual pages and configuration file are made by
# tools/manual.py when it is packed.
set(packaging ${PROJECT_SOURCE_DIR}/packaging)
set(made ${PROJECT_BINARY_DIR}/packaging)
install(CODE "
  execute_process(
    COMMAND /usr/bin/python3 -B \"${PROJECT_SOURCE_DIR}/tools/manual.py\" \"${made}\" --gzip
            --binaries \"${CMAKE_RUNTIME_OUTPUT_DIRECTORY}\"
    COMMAND_ERROR_IS_FATAL ANY)
  execute_process(
    COMMAND gzip -9nc \"${packaging}/deb/changelog\"
    OUTPUT_FILE \"${made}/changelog.Debian.gz\" COMMAND_ERROR_IS_FATAL ANY)")

install(TARGETS polyarch polyarch-check RUNTIME DESTINATION bin)
install(FILES ${made}/polyarch.1.gz ${made}/polyarch-check.1.gz DESTINATION share/man/man1)
install(FILES ${made}/polyarch.toml.5.gz DESTINATION share/man/man5)
install(FILES ${made}/polyarch-commands.7.gz DESTINATION share/man/man7)
install(FILES ${PROJECT_SOURCE_DIR}/README.md ${packaging}/deb/copyright ${packaging}/deb/README.Debian
              ${made}/changelog.Debian.gz
        DESTINATION share/doc/polyarch)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs ${PROJECT_SOURCE_DIR}/examples DESTINATION share/doc/polyarch
        PATTERN __pycache__ EXCLUDE PATTERN node_modules EXCLUDE)
install(FILES ${packaging}/polyarch.service DESTINATION /lib/systemd/system)
# It holds the password: postinst gives it to the group that may read it.
install(FILES ${made}/polyarch.toml DESTINATION /etc/polyarch PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ)

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)  # files go to /etc and /lib, too
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PACKAGE_NAME polyarch)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_CONTACT "Polyarch <dev@polyarch.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "multi-leader database that speaks the Redis protocol")
set(CPACK_PACKAGE_DESCRIPTION
    "Every node, a leader, accepts writes on its own, whether or not it can reach
the others. Writes that did not know of each other are detected by causality,
and every leader ends with the same state. A policy that is chosen for the key
decides what a read shows; what it decides against is kept and restorable.
Clients of Redis work unchanged.")

set(CPACK_PROJECT_CONFIG_FILE ${PROJECT_SOURCE_DIR}/cmake/package_check.cmake)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)  # as in packaging/deb/changelog
set(CPACK_DEBIAN_PACKAGE_SECTION database)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# The programs use instructions of SSE4.2, which amd64 alone does not promise.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, sse4.2-support")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS redis-tools)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${packaging}/deb/postinst ${packaging}/deb/prerm ${packaging}/deb/postrm ${packaging}/deb/conffiles)
include(CPack)
