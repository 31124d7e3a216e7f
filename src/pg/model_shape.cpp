#include "pg/model_shape.hpp"

#include "pg/spi.hpp"

extern "C" {
#include "access/table.h"
#include "catalog/pg_class.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/rel.h"
}

namespace courier::pg {

namespace {

bool scans_one_table(Oid relation);

// Plain C with regard to errors.
bool is_simple(Query *query) {
	if (query->commandType != CMD_SELECT || query->hasAggs || query->hasWindowFuncs || query->hasTargetSRFs ||
	    query->hasSubLinks || query->hasDistinctOn || query->cteList != NIL || query->groupClause != NIL ||
	    query->groupingSets != NIL || query->havingQual || query->distinctClause != NIL || query->sortClause != NIL ||
	    query->limitOffset || query->limitCount || query->rowMarks != NIL || query->setOperations)
		return false;
	List *from = query->jointree->fromlist;
	if (list_length(from) != 1 || !IsA(linitial(from), RangeTblRef))
		return false;
	if (contain_volatile_functions(reinterpret_cast<Node *>(query->targetList)) ||
	    contain_volatile_functions(query->jointree->quals))
		return false;
	RangeTblEntry *entry = rt_fetch(linitial_node(RangeTblRef, from)->rtindex, query->rtable);
	if (entry->rtekind == RTE_SUBQUERY)
		return is_simple(entry->subquery);
	return entry->rtekind == RTE_RELATION && !entry->tablesample && scans_one_table(entry->relid);
}

bool scans_one_table(Oid oid) {
	check_stack_depth();
	Relation relation = table_open(oid, AccessShareLock);
	bool plain = false;
	switch (relation->rd_rel->relkind) {
	case RELKIND_RELATION:
	case RELKIND_MATVIEW:
	case RELKIND_PARTITIONED_TABLE:
		plain = true;
		break;
	case RELKIND_VIEW:
		plain = is_simple(get_view_query(relation));
		break;
	}
	table_close(relation, NoLock);
	return plain;
}

} // namespace

bool is_plain_scan(const std::string &relation) {
	Rows rows = spi_execute("SELECT pg_catalog.to_regclass($1)::pg_catalog.oid", relation);
	if (rows.empty() || rows.is_null(0, 0))
		return false;
	Oid oid = rows.get<Oid>(0, 0);
	return call_postgres([oid] { return scans_one_table(oid); });
}

} // namespace courier::pg
