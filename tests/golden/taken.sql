SELECT
  `t7`.`id`,
  `t7`.`title`,
  `t7`.`tags`,
  `t7`.`body` AS `answer`
FROM (
  SELECT
    `t6`.`id`,
    `t6`.`title`,
    `t6`.`tags`,
    `t6`.`accepted_answer_id`,
    `t6`.`creation_date`,
    `t6`.`answer_id`,
    `t6`.`parent_id`,
    `t6`.`body`,
    `t6`.`score`,
    COALESCE(`t6`.`answer_id` = `t6`.`accepted_answer_id`, FALSE)
    OR COALESCE(`t6`.`score` >= 3, FALSE) AS `good`,
    ROW_NUMBER() OVER (
      PARTITION BY `t6`.`id`
      ORDER BY COALESCE(`t6`.`answer_id` = `t6`.`accepted_answer_id`, FALSE) DESC, `t6`.`score` DESC, `t6`.`answer_id` ASC
    ) - 1 AS `place`
  FROM (
    SELECT
      `t5`.`id`,
      `t5`.`title`,
      `t5`.`tags`,
      `t5`.`accepted_answer_id`,
      `t5`.`creation_date`,
      `t3`.`answer_id`,
      `t3`.`parent_id`,
      `t3`.`body`,
      `t3`.`score`
    FROM (
      SELECT
        *
      FROM `bigquery-public-data`.`stackoverflow`.`posts_questions` AS `t0`
      WHERE
        COALESCE(INSTR(CONCAT('|', `t0`.`tags`, '|'), '|python|') > 0, FALSE)
        AND COALESCE(
          (
            `t0`.`creation_date` >= TIMESTAMP('2019-01-01T00:00:00+00:00')
          )
          AND (
            `t0`.`creation_date` < TIMESTAMP('2027-01-01T00:00:00+00:00')
          ),
          FALSE
        )
    ) AS `t5`
    LEFT OUTER JOIN (
      SELECT
        `t1`.`id` AS `answer_id`,
        `t1`.`parent_id`,
        `t1`.`body`,
        `t1`.`score`
      FROM `bigquery-public-data`.`stackoverflow`.`posts_answers` AS `t1`
    ) AS `t3`
      ON `t5`.`id` = `t3`.`parent_id`
  ) AS `t6`
) AS `t7`
WHERE
  `t7`.`place` = 0 AND `t7`.`good`
