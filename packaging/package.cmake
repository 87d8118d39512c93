# What `make install` puts where, and the Debian package of it: make package.
include(GNUInstallDirs)

# The team's example, with the folders that weir.service gives it.
file(READ ${CMAKE_SOURCE_DIR}/examples/team/weir.lua INSTALLED)
string(REPLACE "data = \"data\"" "data = \"/var/lib/weir\"" INSTALLED "${INSTALLED}")
string(REPLACE "unix:data/admin.sock" "unix:/run/weir/admin.sock" INSTALLED "${INSTALLED}")
file(WRITE ${CMAKE_BINARY_DIR}/installed/weir.lua "${INSTALLED}")

install(TARGETS weir RUNTIME DESTINATION bin)
install(FILES ${CMAKE_BINARY_DIR}/installed/weir.lua DESTINATION /etc/weir)
install(FILES examples/team/weir.service examples/team/weir.socket DESTINATION /lib/systemd/system)
install(DIRECTORY docs/ DESTINATION share/doc/weir)
install(DIRECTORY examples lua/meta DESTINATION share/doc/weir)
install(FILES README.md CHANGELOG.md DESTINATION share/doc/weir)
install(FILES LICENSE DESTINATION share/doc/weir RENAME copyright)

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME weir)
set(CPACK_PACKAGE_CONTACT "the maintainers of Weir <weir@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "gateway for LLM traffic, with policies in Lua")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "ca-certificates, tzdata")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/conffiles
                                       ${CMAKE_SOURCE_DIR}/packaging/postinst
                                       ${CMAKE_SOURCE_DIR}/packaging/prerm)
include(CPack)
