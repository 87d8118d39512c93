# What `make install` puts where, and the Debian package of it: make package.
include(GNUInstallDirs)

# The team's example, with the folders that weir.service gives it.
file(READ ${CMAKE_SOURCE_DIR}/examples/team/weir.lua INSTALLED)
string(REPLACE "data = \"data\"" "data = \"/var/lib/weir\"" INSTALLED "${INSTALLED}")
string(REPLACE "unix:data/admin.sock" "unix:/run/weir/admin.sock" INSTALLED "${INSTALLED}")
file(WRITE ${CMAKE_BINARY_DIR}/installed/weir.lua "${INSTALLED}")

# What Debian wants of every package: a changelog of the package and a manual page, gzipped.
set(CONTACT "the maintainers of Weir <weir@localhost>")
string(TIMESTAMP TODAY "%a, %d %b %Y %H:%M:%S +0000" UTC) # as RFC 5322 writes it
file(WRITE ${CMAKE_BINARY_DIR}/installed/changelog
     "weir (${PROJECT_VERSION}) stable; urgency=medium\n\n  * See CHANGELOG.md.\n\n"
     " -- ${CONTACT}  ${TODAY}\n")
configure_file(packaging/weir.1 ${CMAKE_BINARY_DIR}/installed/weir.1 COPYONLY)
execute_process(COMMAND gzip -9nf changelog weir.1
                WORKING_DIRECTORY ${CMAKE_BINARY_DIR}/installed COMMAND_ERROR_IS_FATAL ANY)

install(TARGETS weir RUNTIME DESTINATION bin)
install(FILES ${CMAKE_BINARY_DIR}/installed/weir.lua DESTINATION /etc/weir)
install(FILES examples/team/weir.service examples/team/weir.socket DESTINATION /lib/systemd/system)
install(FILES ${CMAKE_BINARY_DIR}/installed/weir.1.gz DESTINATION share/man/man1)
install(FILES ${CMAKE_BINARY_DIR}/installed/changelog.gz DESTINATION share/doc/weir)
install(DIRECTORY docs examples lua/meta DESTINATION share/doc/weir)
install(FILES README.md CHANGELOG.md DESTINATION share/doc/weir)
install(FILES core/README.md DESTINATION share/doc/weir/core)
install(FILES LICENSE DESTINATION share/doc/weir RENAME copyright)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_CONTACT ${CONTACT})
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gateway for LLM traffic, with policies in Lua")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Weir stands between a team's apps and the places that serve language
models. It speaks OpenAI's API, tries another provider when one fails
before the client has seen anything, issues keys with limits and budgets,
and writes down what was spent. What to try is decided by policies in Lua.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "ca-certificates, tzdata")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/conffiles
                                       ${CMAKE_SOURCE_DIR}/packaging/postinst
                                       ${CMAKE_SOURCE_DIR}/packaging/prerm
                                       ${CMAKE_SOURCE_DIR}/packaging/postrm)
include(CPack)
