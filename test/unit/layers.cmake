# cmake -DROOT=<project> -P layers.cmake: fails when a file includes what its layer may not see.

set(postgres "postgres|postgres_fe|fmgr|c|pg_config|libpq-fe|(access|catalog|commands|executor|funcapi|libpq|nodes|parser|port|postmaster|storage|tcop|utils)/[^\">]*")

set(core_may_not "(http|destinations|pg)/|curl/|openssl/|(${postgres})(\\.h)?[\">]")
set(http_may_not "(destinations|pg)/|(${postgres})(\\.h)?[\">]")
set(destinations_may_not "pg/|curl/|(${postgres})(\\.h)?[\">]")

set(wrong "")
foreach(layer core http destinations)
	file(GLOB_RECURSE files ${ROOT}/src/${layer}/*.cpp ${ROOT}/src/${layer}/*.hpp ${ROOT}/src/${layer}/*.h)
	foreach(file IN LISTS files)
		file(STRINGS ${file} includes REGEX "^[ \t]*#[ \t]*include[ \t]*[\"<]")
		foreach(line IN LISTS includes)
			if(line MATCHES "include[ \t]*[\"<](\\.\\./)*(${${layer}_may_not})")
				file(RELATIVE_PATH name ${ROOT} ${file})
				string(APPEND wrong "  ${name}: ${line}\n")
			endif()
		endforeach()
	endforeach()
endforeach()

if(wrong)
	message(FATAL_ERROR "These includes run against pg -> destinations -> http -> core:\n${wrong}")
endif()
