# Every library comes from Debian; one imported target each, so that a folder names what it uses.
find_package(PkgConfig REQUIRED)
pkg_check_modules(lmdb REQUIRED IMPORTED_TARGET lmdb)
pkg_check_modules(sodium REQUIRED IMPORTED_TARGET libsodium)
pkg_search_module(msgpack REQUIRED IMPORTED_TARGET msgpack-c msgpack)
pkg_check_modules(jansson REQUIRED IMPORTED_TARGET jansson)
pkg_check_modules(smartcols REQUIRED IMPORTED_TARGET smartcols)
pkg_check_modules(inih REQUIRED IMPORTED_TARGET inih)

# libev and uthash ship no .pc file.
find_path(EV_INCLUDE ev.h REQUIRED)
find_library(EV_LIBRARY ev REQUIRED)
add_library(ev INTERFACE)
target_include_directories(ev SYSTEM INTERFACE ${EV_INCLUDE})
target_link_libraries(ev INTERFACE ${EV_LIBRARY})
find_path(UTHASH_INCLUDE uthash.h REQUIRED)

if(SOLO_TESTS)
    pkg_check_modules(criterion REQUIRED IMPORTED_TARGET criterion)
endif()
